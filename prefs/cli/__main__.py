from prefs.cli import main

main(prog_name="prefs")
