//! asyncio's primitives, for the tasks of one loop: as `asyncio.locks`, `asyncio.queues`, `asyncio.timeouts`, and `sleep`.

pub mod sleep;
