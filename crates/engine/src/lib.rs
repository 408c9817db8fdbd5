//! `plait._engine`: the only crate that knows Python. One folder a face; see the design notes for the seam.

pub mod asyncio;
pub mod deadlock;
pub mod door;
pub mod futures;
pub mod guarded;
pub mod held;
pub mod hot;
pub mod limit;
pub mod process;
pub mod queue;
pub mod shared;
pub mod task;
pub mod threading;

use pyo3::exceptions::PyImportError;
use pyo3::prelude::*;

/// The native half of plait.
#[pymodule(name = "_engine", gil_used = false)]
mod engine {
    use super::*;

    #[pymodule_export]
    use super::futures::{
        collector::{_done_of, Collector},
        face::_use_face,
        future::FutureCore,
        pool::{_close_all_pools, PoolCore},
        results::Results,
        worker::Worker,
    };
    #[pymodule_export]
    use super::process::pool::{ProcessPoolCore, crew::Crew};
    #[pymodule_export]
    use super::process::worker::ProcessWorker;
    #[pymodule_export]
    use super::process::{
        pidfds::{_pidfd, _wait_for_process},
        start::{ZygoteProcess, ZygoteStarter, ZygoteWorker},
        zygote::NurseryFace,
    };
    #[pymodule_export]
    use super::task::ready::{Already, Ready};
    #[pymodule_export]
    use super::threading::{
        barrier::Barrier,
        condition::Condition,
        event::Event,
        lock::Lock,
        rlock::RLock,
        semaphore::{BoundedSemaphore, Semaphore},
    };

    #[pymodule_export]
    use super::process::extent::Extent;
    #[pymodule_export]
    use super::queue::{LifoQueue, PriorityQueue, Queue};
    #[pymodule_export]
    use super::shared::array::Block;

    #[pymodule_export]
    use super::shared::{
        barrier::SharedBarrier, condition::WaitTable, event::SharedEvent, lock::SemLock, queue::SharedQueue,
    };

    /// The native half of `plait.asyncio`: `Lock`, `Event`, `Future` are names of both halves, so it is a module of its own.
    #[pymodule(gil_used = false)]
    mod asyncio {
        use super::*;

        #[pymodule_export]
        use crate::asyncio::await_::Await;
        #[pymodule_export]
        use crate::asyncio::function::{_create_task_function, Function};
        #[pymodule_export]
        use crate::asyncio::future::Future;
        #[cfg(Py_3_14)]
        #[pymodule_export]
        use crate::asyncio::future::awaited::{future_add_to_awaited_by, future_discard_from_awaited_by};
        #[pymodule_export]
        use crate::asyncio::group::{
            amap::{face::AsyncMap, work::Work},
            completed::AsCompleted,
            ensure::ensure_future,
            gather::{Gathering, gather},
            shield::shield,
            taskgroup::TaskGroup,
            wait::wait,
        };
        #[pymodule_export]
        use crate::asyncio::looping::{
            LoopCore, handle::Handle, submitted::run_coroutine_threadsafe, timer_handle::TimerHandle,
            wrapped::wrap_future,
        };
        #[pymodule_export]
        use crate::asyncio::net::{
            accept::{_listen, Listener},
            datagram::{_datagram_transport, DatagramTransport},
            face::_use_transports,
            pipe::{_read_pipe_transport, _write_pipe_transport, ReadPipeTransport, WritePipeTransport},
            registry::Transports,
            sock::{
                connect::_sock_connect,
                receive::{_sock_accept, _sock_recv, _sock_recv_into, _sock_recvfrom, _sock_recvfrom_into},
                send::{_sock_sendall, _sock_sendto},
            },
            stream::{_stream_transport, StreamTransport},
        };
        #[pymodule_export]
        use crate::asyncio::streams::{
            face::_use_streams, protocol::StreamReaderProtocolCore, reader::StreamReaderCore,
            writer::StreamWriterCore,
        };
        #[pymodule_export]
        use crate::asyncio::sync::{
            barrier::Barrier,
            condition::Condition,
            event::Event,
            line::Line,
            lock::Lock,
            queue::{LifoQueue, PriorityQueue, Queue},
            semaphore::{BoundedSemaphore, Semaphore},
            timeout::{Timeout, timeout_at},
        };
        #[pymodule_export]
        use crate::asyncio::task::{Task, functions::_every_task};
        #[pymodule_export]
        use crate::asyncio::tls::{protocol::TlsProtocol, transport::TlsTransport};

        /// Lets `import plait._engine.asyncio` find it.
        #[pymodule_init]
        fn init(module: &Bound<'_, PyModule>) -> PyResult<()> {
            crate::asyncio::looping::threaded::add(module)?;
            crate::asyncio::sync::sleep::add(module)?;
            crate::asyncio::sync::timeout::add(module)?;
            module.setattr("__name__", "plait._engine.asyncio")?;
            let modules = module.py().import("sys")?.getattr("modules")?;
            modules.set_item("plait._engine.asyncio", module)
        }
    }

    #[pymodule_init]
    fn init(module: &Bound<'_, PyModule>) -> PyResult<()> {
        only_in_the_main_interpreter()?;
        plait_core::fork::watch();
        if cfg!(not(Py_GIL_DISABLED)) {
            plait_core::chain::enable();
        }
        crate::asyncio::await_::init(module.py())?;
        crate::asyncio::sync::init(module.py())?;
        crate::asyncio::future::init(module.py())?;
        crate::asyncio::group::init(module.py());
        crate::asyncio::looping::init(module.py())?;
        crate::asyncio::net::init(module.py());
        task::init(module.py());
        threading::init(module.py())?;
        futures::init(module.py())?;
        process::pool::init(module.py())?;
        queue::init(module)?;
        shared::init(module.py())?;
        deadlock::init(module)?;
        module.add("__version__", env!("CARGO_PKG_VERSION"))
    }
}

/// The types and the attaching of PyO3 belong to one interpreter. CPython refuses the import for us only in
/// isolated interpreters, from 3.12 on; in others a wait would want the GIL that its own thread holds.
fn only_in_the_main_interpreter() -> PyResult<()> {
    // SAFETY: the thread is attached, so it has an interpreter, which lives as long as this call.
    let id = unsafe { pyo3::ffi::PyInterpreterState_GetID(pyo3::ffi::PyInterpreterState_Get()) };
    if id == 0 {
        return Ok(());
    }
    Err(PyImportError::new_err(
        "module plait._engine does not support loading in subinterpreters",
    ))
}
