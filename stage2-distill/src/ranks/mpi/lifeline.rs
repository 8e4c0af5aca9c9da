//! How a rank learns that another one died: a connection between rank 0 and each other rank, which the kernel closes
//! with the process.
//!
//! MPI's own calls wait for ever for a rank that was killed, and what started them ends the others only after a while, or
//! with a signal that lets them say nothing. A rank that reads the end of a connection nobody took leave on ends at once,
//! with 75: only whole files are ever on the disk.

use std::fs;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream, ToSocketAddrs};
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use cli::{Exit, fail, warn};

use super::super::{Collective, cores};

/// Takes leave: the connection's end says nothing any more.
const LEAVE: u8 = 1;
/// Rank 0 has said which rank died.
const DEATH: u8 = 2;
/// How long a rank tries to reach rank 0, and is waited for there.
const PATIENCE: Duration = Duration::from_secs(10);
/// Words for the name of rank 0's machine, the longest that Linux has.
const NAME: usize = 64 / 8;

/// The connections of this rank: with rank 0, or of rank 0 with all others.
pub(super) struct Lifeline {
    streams: Arc<Vec<TcpStream>>,
}

impl Lifeline {
    /// Connects the ranks. Those of one machine by its loopback; where that fails, what started MPI is left to notice
    /// deaths, and rank 0 says so.
    pub fn tie(collective: &dyn Collective) -> Self {
        let machines = collective.gather(&[cores::machine()]);
        let on_one = machines.iter().all(|machine| *machine == machines[0]);
        let listener =
            (collective.rank() == 0).then(|| TcpListener::bind((listening(on_one), 0)).ok()).flatten();
        let port = listener.as_ref().and_then(|listener| Some(listener.local_addr().ok()?.port()));
        let meeting = Meeting::of(&collective.gather(&Meeting::words(port.unwrap_or(0))), on_one);
        let own = if collective.rank() > 0 { meeting.reach(collective.rank()) } else { None };
        let reached = collective.gather(&[own.is_some().into()]).iter().sum::<u64>() as usize;
        let streams = match listener {
            Some(listener) => meeting.receive(&listener, reached),
            None => own.into_iter().map(|stream| (0, stream)).collect(),
        };
        if collective.rank() == 0 && streams.len() + 1 < collective.ranks() {
            warn(
                "not every rank could be connected with rank 0: a rank that dies is noticed by what started MPI alone",
            );
        }
        let (peers, streams): (Vec<usize>, Vec<TcpStream>) = streams.into_iter().unzip();
        let streams = Arc::new(streams);
        for (place, peer) in peers.into_iter().enumerate() {
            let (streams, own) = (streams.clone(), collective.rank());
            thread::spawn(move || watch(&streams, place, peer, own));
        }
        Self { streams }
    }

    /// Takes leave of the others.
    pub fn untie(&self) {
        tell(&self.streams, LEAVE);
    }
}

fn listening(on_one: bool) -> Ipv4Addr {
    if on_one { Ipv4Addr::LOCALHOST } else { Ipv4Addr::UNSPECIFIED }
}

fn tell(streams: &[TcpStream], what: u8) {
    for mut stream in streams {
        // Whoever is gone already need not be told.
        let _ = stream.write_all(&[what]);
    }
}

/// Waits for the other end's leave; without it ends this process.
fn watch(streams: &[TcpStream], place: usize, peer: usize, own: usize) {
    let mut said = [0];
    let heard = (&streams[place]).read_exact(&mut said).map(|()| said[0]);
    if matches!(heard, Ok(LEAVE)) {
        return;
    }
    // One rank says it.
    if own == 0 || (own == 1 && !matches!(heard, Ok(DEATH))) {
        fail(format_args!(
            "rank {peer} is gone, and all others end\nhint: run the same command again, with any number of ranks: it goes on from its last checkpoint"
        ));
    }
    if own == 0 {
        tell(streams, DEATH);
    }
    Exit::Interrupted.at_once();
}

/// Where rank 0 is to be found, and what it knows its ranks by.
struct Meeting {
    host: String,
    port: u16,
    token: u64,
}

impl Meeting {
    /// As words that ranks send each other; those of rank 0 count.
    fn words(port: u16) -> Vec<u64> {
        let mut random = [0; 8];
        let _ = fs::File::open("/dev/urandom").and_then(|mut file| file.read_exact(&mut random));
        let mut name = fs::read("/proc/sys/kernel/hostname").unwrap_or_default();
        name.resize(8 * NAME, 0);
        let name = name.chunks_exact(8).map(|word| u64::from_le_bytes(word.try_into().expect("eight bytes")));
        [port.into(), u64::from_le_bytes(random)].into_iter().chain(name).collect()
    }

    fn of(words: &[u64], on_one: bool) -> Self {
        let name: Vec<u8> = words[2..2 + NAME].iter().flat_map(|word| word.to_le_bytes()).collect();
        let name = String::from_utf8_lossy(&name);
        let name = name.trim_matches(|sign: char| sign.is_whitespace() || sign == '\0');
        Self {
            host: if on_one { Ipv4Addr::LOCALHOST.to_string() } else { name.into() },
            port: words[0] as u16,
            token: words[1],
        }
    }

    /// A connection of this rank with rank 0.
    fn reach(&self, rank: usize) -> Option<TcpStream> {
        let mut places = (self.host.as_str(), self.port).to_socket_addrs().ok()?;
        let mut stream = places.find_map(|place| TcpStream::connect_timeout(&place, PATIENCE).ok())?;
        stream.write_all(&self.token.to_le_bytes()).ok()?;
        stream.write_all(&(rank as u64).to_le_bytes()).ok()?;
        Some(stream)
    }

    /// The connections of so many ranks, which have all been made; strangers are turned away.
    fn receive(&self, listener: &TcpListener, ranks: usize) -> Vec<(usize, TcpStream)> {
        let mut streams = Vec::new();
        while streams.len() < ranks {
            let Ok((mut stream, _)) = listener.accept() else { break };
            let mut words = [[0; 8]; 2];
            let _ = stream.set_read_timeout(Some(PATIENCE));
            let read = words.iter_mut().try_for_each(|word| stream.read_exact(word));
            let [token, rank] = words.map(u64::from_le_bytes);
            if read.is_ok() && token == self.token && stream.set_read_timeout(None).is_ok() {
                streams.push((rank as usize, stream));
            }
        }
        streams
    }
}
