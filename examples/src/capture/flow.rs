//! TCP streams as a capture sees them: in order, from their first byte.
//!
//! Between the frames and the TLS records in them. A stream that began before the capture, or that lost a frame, is
//! followed no further than it can be understood; it is never taken for plaintext because of that.

use super::tls::{Hello, Records};
use std::collections::{BTreeMap, HashMap};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

/// How much of a plaintext stream is kept to show.
const SAMPLE: usize = 60;

/// What a capture saw between pods.
#[derive(Debug, Clone, Default)]
pub struct Seen {
    /// Frames with TCP payload, and their payload in bytes.
    pub frames: u64,
    pub bytes: u64,
    /// Connections seen from their start.
    pub connections: u64,
    /// How many ServerHellos chose a protocol version, by name.
    pub versions: BTreeMap<String, u64>,
    pub ciphers: BTreeMap<String, u64>,
    /// Application protocols that clients offered, by what the ClientHello says.
    pub alpn: BTreeMap<String, u64>,
    /// Bytes inside of TLS application data records.
    pub encrypted: u64,
    /// Streams that are no TLS.
    pub plaintext: Vec<Plaintext>,
}

/// A stream that anybody on the wire could read.
#[derive(Debug, Clone)]
pub struct Plaintext {
    pub from: SocketAddr,
    pub to: SocketAddr,
    pub starts_with: Vec<u8>,
}

/// One direction of a connection.
struct Stream {
    next: u32,
    records: Records,
    lost: bool,
}

pub(super) struct Flows {
    outsiders: [IpAddr; 2],
    streams: HashMap<(SocketAddr, SocketAddr), Stream>,
    seen: Seen,
}

/// What matters of a frame.
struct Segment<'a> {
    from: SocketAddr,
    to: SocketAddr,
    sequence: u32,
    syn: bool,
    /// FIN or RST.
    end: bool,
    payload: &'a [u8],
}

impl Flows {
    pub(super) fn new(outsiders: [IpAddr; 2]) -> Self {
        Self { outsiders, streams: HashMap::new(), seen: Seen::default() }
    }

    pub(super) fn frame(&mut self, frame: &[u8]) {
        let Some(segment) = segment(frame) else { return };
        let ends = [segment.from.ip(), segment.to.ip()];
        // What the node says to itself is between no pods either: discovery's store may run there.
        if ends.iter().any(|ip| ip.is_loopback() || self.outsiders.contains(ip)) {
            return;
        }
        let key = (segment.from, segment.to);
        if segment.syn {
            let fresh = Stream { next: segment.sequence.wrapping_add(1), records: Records::default(), lost: false };
            let known = self.streams.insert(key, fresh);
            let reverse = self.streams.contains_key(&(segment.to, segment.from));
            self.seen.connections += u64::from(known.is_none() && !reverse);
            return;
        }
        if !segment.payload.is_empty() {
            self.seen.frames += 1;
            self.seen.bytes += segment.payload.len() as u64;
        }
        if let Some(stream) = self.streams.get_mut(&key) {
            stream.take(&segment, &mut self.seen);
        }
        if segment.end {
            self.streams.remove(&key);
        }
    }

    pub(super) fn into_seen(self) -> Seen {
        self.seen
    }
}

impl Stream {
    fn take(&mut self, segment: &Segment<'_>, seen: &mut Seen) {
        let behind = self.next.wrapping_sub(segment.sequence);
        // A frame from the future means that one was lost: what follows has no known boundaries.
        self.lost |= behind > u32::MAX / 2;
        // What was sent again was looked at before.
        let Some(fresh) = segment.payload.get(behind as usize..).filter(|fresh| !fresh.is_empty() && !self.lost) else {
            return;
        };
        self.next = self.next.wrapping_add(fresh.len() as u32);
        let first = self.records.untouched();
        let Ok(progress) = self.records.take(fresh) else {
            self.lost = true;
            if first {
                let starts_with = fresh[..fresh.len().min(SAMPLE)].to_vec();
                seen.plaintext.push(Plaintext { from: segment.from, to: segment.to, starts_with });
            }
            return;
        };
        seen.encrypted += progress.application_bytes;
        match progress.hello {
            Some(Hello::Client { alpn }) => {
                for protocol in alpn {
                    *seen.alpn.entry(protocol).or_default() += 1;
                }
            }
            Some(Hello::Server { version, cipher }) => {
                *seen.versions.entry(version).or_default() += 1;
                *seen.ciphers.entry(cipher).or_default() += 1;
            }
            None => {}
        }
    }
}

/// Takes an Ethernet frame apart (IEEE 802.3, RFC 791, RFC 8200, RFC 9293). `None`: no TCP, or not whole.
fn segment(frame: &[u8]) -> Option<Segment<'_>> {
    let kind = u16::from_be_bytes(frame.get(12..14)?.try_into().ok()?);
    let packet = frame.get(14..)?;
    let (source, target, tcp): (IpAddr, IpAddr, &[u8]) = match kind {
        0x0800 => {
            let header = usize::from(packet.first()? & 0x0f) * 4;
            let total = usize::from(u16::from_be_bytes(packet.get(2..4)?.try_into().ok()?));
            if *packet.get(9)? != 6 {
                return None;
            }
            let address = |at: usize| Some(Ipv4Addr::from(<[u8; 4]>::try_from(packet.get(at..at + 4)?).ok()?));
            // Cuts off Ethernet's padding; a total of 0 is a frame too long for the field (segmentation offload).
            let end = if total == 0 { packet.len() } else { total };
            (address(12)?.into(), address(16)?.into(), packet.get(header..end)?)
        }
        0x86dd => {
            let length = usize::from(u16::from_be_bytes(packet.get(4..6)?.try_into().ok()?));
            if *packet.get(6)? != 6 {
                return None;
            }
            let address = |at: usize| Some(Ipv6Addr::from(<[u8; 16]>::try_from(packet.get(at..at + 16)?).ok()?));
            let end = if length == 0 { packet.len() } else { 40 + length };
            (address(8)?.into(), address(24)?.into(), packet.get(40..end)?)
        }
        _ => return None,
    };
    let port = |at: usize| Some(u16::from_be_bytes(tcp.get(at..at + 2)?.try_into().ok()?));
    let flags = *tcp.get(13)?;
    Some(Segment {
        from: (source, port(0)?).into(),
        to: (target, port(2)?).into(),
        sequence: u32::from_be_bytes(tcp.get(4..8)?.try_into().ok()?),
        syn: flags & 0x02 != 0,
        end: flags & 0x05 != 0,
        payload: tcp.get(usize::from(tcp.get(12)? >> 4) * 4..)?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(from: u8, to: u8, sequence: u32, flags: u8, payload: &[u8]) -> Vec<u8> {
        let mut bytes = vec![0; 12];
        bytes.extend([0x08, 0x00, 0x45, 0]);
        bytes.extend((40 + payload.len() as u16).to_be_bytes());
        bytes.extend([0, 0, 0, 0, 64, 6, 0, 0, 10, 77, 0, from, 10, 77, 0, to]);
        bytes.extend([0x9c, 0x40, 0, 80]);
        bytes.extend(sequence.to_be_bytes());
        bytes.extend([0, 0, 0, 0, 0x50, flags, 0, 0, 0, 0, 0, 0]);
        bytes.extend(payload);
        bytes
    }

    #[test]
    fn plaintext_is_told_and_frames_sent_again_count_once_in_the_stream() {
        let mut flows = Flows::new(["10.77.0.1".parse().unwrap(), "fd77::1".parse().unwrap()]);
        flows.frame(&frame(2, 3, 99, 0x02, b""));
        flows.frame(&frame(2, 3, 100, 0x18, b"GET / HTTP/1.1\r\n"));
        flows.frame(&frame(2, 1, 100, 0x18, b"to the node"));
        let seen = flows.into_seen();
        assert_eq!((seen.connections, seen.frames, seen.plaintext.len()), (1, 1, 1));
        assert_eq!(seen.plaintext[0].starts_with, b"GET / HTTP/1.1\r\n");

        let mut flows = Flows::new(["10.77.0.1".parse().unwrap(), "fd77::1".parse().unwrap()]);
        let record = [23, 3, 3, 0, 4, 1, 2, 3, 4];
        flows.frame(&frame(2, 3, u32::MAX, 0x02, b""));
        flows.frame(&frame(2, 3, 0, 0x18, &record[..6]));
        flows.frame(&frame(2, 3, 0, 0x18, &record));
        flows.frame(&frame(2, 3, 1000, 0x18, b"after a gap"));
        let seen = flows.into_seen();
        assert_eq!((seen.encrypted, seen.plaintext.len()), (4, 0));
    }

    #[test]
    fn a_frame_cut_anywhere_is_left_out() {
        let whole = frame(2, 3, 0, 0x18, b"payload");
        for length in 0..whole.len() {
            assert!(segment(&whole[..length]).is_none(), "{length}");
        }
        assert_eq!(segment(&whole).unwrap().payload, b"payload");
    }
}
