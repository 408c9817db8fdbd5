"""Notes which loop a program ran on: its test wants to know, its output must not say."""

import asyncio
import os


def loop() -> None:
    """Append the module of the running loop's class to the file that LOOP_SEEN names."""
    if path := os.environ.get("LOOP_SEEN"):
        with open(path, "a", encoding="utf-8") as file:
            file.write(f"{type(asyncio.get_running_loop()).__module__}\n")
