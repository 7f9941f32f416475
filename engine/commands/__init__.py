"""What each command of the command line does; every one drives the same service that the window drives."""
