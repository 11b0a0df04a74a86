"""Model: a captioning model behind one interface; what it sees kept on disk, what it says decoded, where it looked."""
