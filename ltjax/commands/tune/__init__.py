"""The search over settings: Optuna proposes them and ends hopeless trials; every trial is a run of its own.

space.py     the file with the settings to search
study.py     the study: which trials there are, who works on which, what came out
trial.py     one trial: its command line, its evaluations
summary.py   the table of the trials, and the best settings as a command
command.py   the command
"""
