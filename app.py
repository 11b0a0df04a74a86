"""Opens the explorer: `python app.py`, and the entry of a Hugging Face Space."""

from explorer.settings import Settings
from explorer.ui import launch

if __name__ == "__main__":
    launch(Settings.from_environment())
