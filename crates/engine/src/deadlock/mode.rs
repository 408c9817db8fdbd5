//! What is done about a deadlock: `PLAIT_DEADLOCK`, read once, when the engine is loaded.

use pyo3::exceptions::PyRuntimeWarning;
use pyo3::prelude::*;
use std::ffi::CString;
use std::sync::atomic::{AtomicU8, Ordering};

/// The variable's name.
const VARIABLE: &str = "PLAIT_DEADLOCK";

/// What is done about a deadlock.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Mode {
    /// Nothing: waits are not watched.
    Off,
    /// A warning, always.
    Warn,
    /// An exception where nobody can ever end the wait, else a warning.
    Judge,
    /// An exception, always.
    Raise,
}

static MODE: AtomicU8 = AtomicU8::new(Mode::Judge as u8);

impl Mode {
    /// The mode of this process.
    #[must_use]
    pub fn now() -> Self {
        match MODE.load(Ordering::Relaxed) {
            0 => Self::Off,
            1 => Self::Warn,
            2 => Self::Judge,
            _ => Self::Raise,
        }
    }

    /// Whether a deadlock raises: one that is certain, or one that is only possible.
    #[must_use]
    pub fn raises(self, certain: bool) -> bool {
        match self {
            Self::Off | Self::Warn => false,
            Self::Judge => certain,
            Self::Raise => true,
        }
    }
}

/// Reads the variable. A value that means nothing is named in a warning, and the default holds.
///
/// # Errors
/// The warning, where the program turns warnings into exceptions.
pub fn read(py: Python<'_>) -> PyResult<()> {
    let value = std::env::var_os(VARIABLE).unwrap_or_default();
    let mode = match value.to_str() {
        Some("") => Mode::Judge,
        Some("off") => Mode::Off,
        Some("warn") => Mode::Warn,
        Some("raise") => Mode::Raise,
        _ => {
            let text = format!("{VARIABLE} is {value:?}; it has to be off, warn or raise, and is ignored");
            let text = CString::new(text).unwrap_or_default();
            PyErr::warn(py, &py.get_type::<PyRuntimeWarning>(), &text, 1)?;
            Mode::Judge
        }
    };
    MODE.store(mode as u8, Ordering::Relaxed);
    Ok(())
}
