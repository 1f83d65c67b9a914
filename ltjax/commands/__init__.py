"""The commands: each module has ``main(argv) -> exit status``; ltjax/<command>.py and ``ltjax COMMAND`` call it."""
