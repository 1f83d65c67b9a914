"""The page on which a finished run classifies the images that are dropped on it.

command.py      the command
session.py      uploads to answers: classes, probabilities, nearest training images
uploads.py      what an upload may be
neighbours.py   the features of the training images, and the nearest of them
corrections.py  the list file that the form writes
cards.py        answers as HTML
page.py         the page itself, by Gradio
"""
