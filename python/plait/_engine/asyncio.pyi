"""Types of the native half of `plait.asyncio`. One section a module."""
