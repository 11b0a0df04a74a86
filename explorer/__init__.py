"""Fine-tune image-captioning models on one's own photos, compare their captions epoch by epoch, flag the bad ones.

The vocabulary, the same word in code, columns, buttons and docs:

Example     one image and its references, keyed by image id (hash of the file's content)
Reference   text a human wrote for an image
Caption     text a model generated for one image at one checkpoint
Base        the untuned model; shown as epoch 0
Run         one fine-tune: its config, log, checkpoints, captions
Epoch       a completed pass over the training examples, counted from 1
Step        one optimizer update
Checkpoint  weights and metadata at an epoch's end
Progress    one event of a live run
Comparison  images x (reference, base, epochs of one or several runs)
Flag        a person's "this caption is bad", with a reason, a correction, a status
Relabel     replace references by corrections, giving a new dataset version

The data flows one way:

    images + references -> dataset -> run -> checkpoint per epoch -> captions -> comparison
          ^                                                                          |
          +---- relabelled dataset <---- flags (CSV) <---- flag <--------------------+

The packages, each importing only those before it:

data      images and references: read, checked, split
model     a captioning model behind one interface: features, captions, attention
scoring   scores over strings
scenes    the drawn pets
train     a run: its plan, its engine, its process
compare   captions side by side: differences, scores, triage, heat maps, export
flag      flags, corrections, the relabelled dataset, whether it helped
ui        the page: one tab each for Fine-tune, Compare and Flag

Apart from them: pretrain makes the embedded base, demo the shipped run, bench measures.
"""

__version__ = "0.1.0"
