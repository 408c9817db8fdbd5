//! What differs between the transports: a name, what to do when the descriptor is ready, what an error is called.

use super::{Run, datagram, pipe, stream};

/// What a transport carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// TCP and UNIX streams.
    Stream,
    /// UDP and UNIX datagrams.
    Datagram,
    /// The end of a pipe that is read.
    ReadPipe,
    /// The end of a pipe that is written.
    WritePipe,
}

impl Kind {
    /// How many there are.
    pub const COUNT: usize = 4;

    /// Its place in a table.
    pub const fn index(self) -> usize {
        self as usize
    }

    /// The standard library's class, whose repr ours has.
    pub const fn standard_name(self) -> &'static str {
        match self {
            Self::Stream => "_SelectorSocketTransport",
            Self::Datagram => "_SelectorDatagramTransport",
            Self::ReadPipe => "_UnixReadPipeTransport",
            Self::WritePipe => "_UnixWritePipeTransport",
        }
    }

    /// Whether the descriptor is surely a socket.
    pub const fn is_socket(self) -> bool {
        matches!(self, Self::Stream | Self::Datagram)
    }

    /// What the loop calls when there is something to read.
    pub const fn on_read(self) -> Run {
        match self {
            Self::Stream => stream::read::ready,
            Self::Datagram => datagram::read_ready,
            Self::ReadPipe => pipe::read_ready,
            Self::WritePipe => pipe::peer_gone,
        }
    }

    /// What the loop calls when there is room to write.
    pub const fn on_write(self) -> Run {
        match self {
            Self::Datagram => datagram::write_ready,
            _ => stream::write::ready,
        }
    }

    /// What is said of a failed write.
    pub const fn write_failed(self) -> &'static str {
        match self {
            Self::Stream => "Fatal write error on socket transport",
            Self::Datagram => "Fatal write error on datagram transport",
            _ => "Fatal write error on pipe transport",
        }
    }

    /// What is said of a failed read.
    pub const fn read_failed(self) -> &'static str {
        match self {
            Self::Stream => "Fatal read error on socket transport",
            Self::Datagram => "Fatal read error on datagram transport",
            _ => "Fatal read error on pipe transport",
        }
    }

    /// What is logged when somebody goes on writing to what is lost.
    pub const fn lost_write(self) -> &'static str {
        match self {
            Self::WritePipe => "pipe closed by peer or os.write(pipe, data) raised exception.",
            _ => "socket.send() raised exception.",
        }
    }
}
