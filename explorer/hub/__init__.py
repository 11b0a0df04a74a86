"""The Hub: checkpoints and datasets pushed with a card, a workspace that outlives its machine, runs sent to Jobs.

The token comes from HF_TOKEN or the machine's login (`hf auth login`), and goes nowhere but into the client.
"""
