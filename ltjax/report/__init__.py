def write_report(w):
    pass


def format_table(r):
    return str(r["accuracy"])
