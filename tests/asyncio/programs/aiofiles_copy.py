"""aiofiles: forty files written, read and copied at once, line by line, in a temporary folder."""

import asyncio
import hashlib
import tempfile
from pathlib import Path

import aiofiles
import aiofiles.os
import seen


async def write(path: Path, number: int) -> None:
    async with aiofiles.open(path, "w", encoding="utf-8") as file:
        for line in range(50):
            await file.write(f"file {number}, line {line}\n")


async def copy(path: Path) -> str:
    digest = hashlib.sha256()
    async with aiofiles.open(path, "rb") as source, aiofiles.open(path.with_suffix(".copy"), "wb") as target:
        while chunk := await source.read(256):
            digest.update(chunk)
            await target.write(chunk)
    return digest.hexdigest()


async def main() -> None:
    seen.loop()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        paths = [folder / f"{number}.txt" for number in range(40)]
        await asyncio.gather(*[write(path, number) for number, path in enumerate(paths)])
        digests = await asyncio.gather(*[copy(path) for path in paths])
        print("digest of digests:", hashlib.sha256("".join(digests).encode()).hexdigest())
        async with aiofiles.open(folder / "7.copy", encoding="utf-8") as file:
            lines = [line async for line in file]
        print("lines:", len(lines), lines[-1].strip())
        await aiofiles.os.rename(folder / "7.copy", folder / "seven")
        print("size:", (await aiofiles.os.stat(folder / "seven")).st_size)
        await asyncio.gather(*[aiofiles.os.remove(path) for path in paths])
        print("left:", len(await aiofiles.os.listdir(folder)))
        try:
            async with aiofiles.open(folder / "nowhere"):
                pass
        except FileNotFoundError as error:
            print(type(error).__name__, Path(error.filename).name)


asyncio.run(main())
