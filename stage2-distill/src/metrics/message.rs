//! TensorBoard's messages in the protocol buffers' encoding, as far as scalars need them.
//!
//! Source: tensorboard/compat/proto/event.proto and summary.proto; the tests hold the bytes that TensorBoard's own writer
//! makes.

use serde_json::Value;

/// An event without its time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Event(Vec<u8>);

/// Field numbers with their wire types: 0 varint, 1 eight bytes, 2 counted bytes, 5 four bytes.
mod field {
    pub const WALL_TIME: u8 = 1 << 3 | 1;
    pub const STEP: u8 = 2 << 3;
    pub const FILE_VERSION: u8 = 3 << 3 | 2;
    pub const SUMMARY: u8 = 5 << 3 | 2;
    pub const SESSION_LOG: u8 = 7 << 3 | 2;
    pub const VALUE: u8 = 1 << 3 | 2;
    pub const TAG: u8 = 1 << 3 | 2;
    pub const SIMPLE_VALUE: u8 = 2 << 3 | 5;
    pub const STATUS: u8 = 1 << 3;
}

/// Bytes of the time at an event's beginning.
const TIME: usize = 9;

impl Event {
    /// What every file begins with.
    pub fn file_version() -> Self {
        let mut event = vec![];
        counted(field::FILE_VERSION, b"brain.Event:2", &mut event);
        Self(event)
    }

    /// Says that a process begins with this step: readers forget what they know of it and of later ones.
    pub fn start(step: u64) -> Self {
        let mut event = stepped(step);
        counted(field::SESSION_LOG, &[field::STATUS, 1], &mut event);
        Self(event)
    }

    /// The numbers of a line of metrics.jsonl, as f32; none where the line has no step.
    ///
    /// The line that closes an epoch gives `epoch/loss`, `epoch/lr` and so on, any other one `step/loss`.
    pub fn of_line(line: &Value) -> Option<Self> {
        let step = line["step"].as_u64()?;
        let part = if line["lr"].is_number() { "epoch" } else { "step" };
        let mut summary = vec![];
        for (key, value) in
            line.as_object()?.iter().filter(|(key, _)| !["step", "epoch"].contains(&key.as_str()))
        {
            let Some(number) = value.as_f64() else { continue };
            let mut scalar = vec![];
            counted(field::TAG, format!("{part}/{key}").as_bytes(), &mut scalar);
            scalar.push(field::SIMPLE_VALUE);
            scalar.extend((number as f32).to_le_bytes());
            counted(field::VALUE, &scalar, &mut summary);
        }
        let mut event = stepped(step);
        counted(field::SUMMARY, &summary, &mut event);
        Some(Self(event))
    }

    /// With the time, in seconds since 1970.
    pub fn at(&self, wall_time: f64) -> Vec<u8> {
        [&[field::WALL_TIME], &wall_time.to_le_bytes()[..], &self.0].concat()
    }

    /// The event of a payload, whatever its time.
    pub fn untimed(payload: &[u8]) -> Option<Self> {
        let is_timed = payload.first() == Some(&field::WALL_TIME);
        payload.get(TIME..).filter(|_| is_timed).map(|event| Self(event.into()))
    }

    /// Whether it says something of the file or of a process, and nothing of a line.
    pub fn is_of_process(&self) -> bool {
        match self.0.first() {
            Some(&field::FILE_VERSION | &field::SESSION_LOG) => true,
            Some(&field::STEP) => {
                let behind = self.0.iter().skip(1).position(|byte| byte & 0x80 == 0);
                behind.and_then(|last| self.0.get(last + 2)) == Some(&field::SESSION_LOG)
            }
            _ => false,
        }
    }
}

/// Zero is what a missing number means.
fn stepped(step: u64) -> Vec<u8> {
    let mut event = vec![];
    if step > 0 {
        event.push(field::STEP);
        varint(step, &mut event);
    }
    event
}

fn counted(field: u8, bytes: &[u8], out: &mut Vec<u8>) {
    out.push(field);
    varint(bytes.len() as u64, out);
    out.extend(bytes);
}

/// Seven bits a byte, the lowest first; the highest bit says that more follow.
fn varint(mut number: u64, out: &mut Vec<u8>) {
    while number >= 0x80 {
        out.push(number as u8 | 0x80);
        number >>= 7;
    }
    out.push(number as u8);
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::record::framed;
    use super::*;

    /// A file that TensorBoard 2.21's `RecordWriter` wrote of its own `Event` messages (protobuf 7.36): the version of the
    /// file at 1764158400.25, `step/loss` 2.1336886882781982 at step 50, `epoch/loss` 2.25 and `epoch/lr` 0.1 at step 300,
    /// and the start of a session at step 301, some seconds apart.
    const WRITTEN: &str = "1800000000000000a37f4b2209000010f0ba49da411a0d627261696e2e4576656e743a320cf8b4cd\
        1f00000000000000514b441809000060f0ba49da4110322a120a100a09737465702f6c6f7373155b8e08407703019c\
        3200000000000000241956ec09000080f0ba49da4110ac022a240a110a0a65706f63682f6c6f737315000010400a0f0a0865706f63682f6c7215cdcccc3d618d52ff\
        100000000000000095fbfe18090000c0f0ba49da4110ad023a020801cff8f385";

    #[test]
    fn the_bytes_are_those_of_tensorboards_own_writer() {
        let step = json!({"step": 50, "epoch": 1, "loss": 2.133_688_688_278_198_2});
        let epoch = json!({"step": 300, "epoch": 2, "loss": 2.25, "lr": 0.1});
        let events = [
            (Event::file_version(), 1_764_158_400.25),
            (Event::of_line(&step).unwrap(), 1_764_158_401.5),
            (Event::of_line(&epoch).unwrap(), 1_764_158_402.0),
            (Event::start(301), 1_764_158_403.0),
        ];
        let found: Vec<u8> = events.iter().flat_map(|(event, time)| framed(&event.at(*time))).collect();
        let digits =
            |byte: &u8| [byte >> 4, byte & 15].map(|half| char::from_digit(half.into(), 16).unwrap());
        assert_eq!(found.iter().flat_map(digits).collect::<String>(), WRITTEN);
        assert_eq!(events.map(|(event, _)| event.is_of_process()), [true, false, false, true]);
    }

    #[test]
    fn an_event_is_the_same_whenever_it_was_written() {
        let event = Event::of_line(&json!({"step": 5, "loss": 1.0})).unwrap();
        assert_eq!(Event::untimed(&event.at(1.0)), Some(event));
        assert_eq!(Event::untimed(b"\x09short"), None);
        assert_eq!(Event::of_line(&json!({"epoch": 1})), None);
    }
}
