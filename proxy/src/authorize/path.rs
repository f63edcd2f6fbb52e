//! How paths and hosts are read before they are compared: every way in which a server behind might read them.
//!
//! Servers differ in whether they merge slashes, resolve dots, cut parameters off, take an encoded slash for a slash or
//! decode twice. Each way that makes a difference is a reading of its own. What no honest client writes (dots in disguise,
//! backslashes, broken escapes) is an error. The path that is forwarded stays as it came.

/// What cannot be compared, because it can be read in ways that nobody should rely on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ambiguous(pub &'static str);

/// Paths without a slash at the end; the root is empty.
pub type Readings = Vec<String>;

/// Longer paths are not read in several ways.
const LONGEST: usize = 8 * 1024;

/// The path, if it has one reading only; the usual case, which copies nothing.
pub fn plain(path: &str) -> Option<&str> {
    let odd = |byte: u8| matches!(byte, b'%' | b';' | b'\\' | b'#' | b'?' | 0..=0x20 | 0x7f);
    let special = |pair: &[u8]| pair[0] == b'/' && matches!(pair[1], b'/' | b'.');
    let bytes = path.as_bytes();
    // `*` is asked for by OPTIONS, nothing at all by CONNECT.
    let known = path.starts_with('/') || matches!(path, "*" | "");
    let plain = known && !bytes.iter().copied().any(odd) && !bytes.windows(2).any(special);
    plain.then(|| path.strip_suffix('/').unwrap_or(path))
}

/// One segment, decoded.
struct Segment {
    once: String,
    /// Decoded a second time, where that makes a difference.
    twice: Option<String>,
}

/// What distinguishes one way of reading from another.
#[derive(Clone, Copy, Default)]
struct Way {
    /// Escapes within escapes are decoded.
    twice: bool,
    /// An encoded slash is a slash.
    slashes: bool,
    /// What follows `;` is cut off each segment; what follows an encoded `?` or `#`, off the path.
    cut: bool,
    /// Empty segments do not count.
    merged: bool,
    /// `.` and `..` are resolved.
    resolved: bool,
}

/// All readings of `path`, without the query.
pub fn readings(path: &str) -> Result<Readings, Ambiguous> {
    let Some(relative) = path.strip_prefix('/') else {
        return if matches!(path, "*" | "") { Ok(vec![path.to_owned()]) } else { Err(Ambiguous("path without root")) };
    };
    if path.bytes().any(|byte| matches!(byte, b'\\' | b'#' | b'?' | 0..=0x20 | 0x7f)) {
        return Err(Ambiguous("path with a byte that URLs do not have"));
    }
    let segments = relative.split('/').map(Segment::read).collect::<Result<Vec<_>, _>>()?;
    let found = |what: &dyn Fn(&Segment) -> bool| segments.iter().any(what);
    let slashes = found(&|segment| segment.once.contains('/'));
    let cut = found(&|segment| segment.once.contains([';', '?', '#']));
    let triggers = [
        found(&|segment| segment.twice.is_some()),
        slashes,
        cut,
        slashes || cut || found(&|segment| segment.once.is_empty()),
        found(&|segment| matches!(segment.once.as_str(), "." | "..")),
    ];
    if path.len() > LONGEST {
        return Err(Ambiguous("path too long to be read in several ways"));
    }
    let mut readings = Vec::new();
    for bits in 0..1u8 << triggers.len() {
        let bit = |n: usize| bits & (1 << n) != 0;
        if (0..triggers.len()).any(|n| bit(n) && !triggers[n]) {
            continue;
        }
        let way = Way { twice: bit(0), slashes: bit(1), cut: bit(2), merged: bit(3), resolved: bit(4) };
        let reading = way.read(&segments);
        if !readings.contains(&reading) {
            readings.push(reading);
        }
    }
    Ok(readings)
}

impl Way {
    fn read(self, segments: &[Segment]) -> String {
        let mut pieces: Vec<&str> = Vec::with_capacity(segments.len());
        'path: for segment in segments {
            let text = segment.twice.as_ref().filter(|_| self.twice).unwrap_or(&segment.once);
            let parts: Vec<&str> = if self.slashes { text.split('/').collect() } else { vec![text] };
            for part in parts {
                let end = part.find([';', '?', '#']).filter(|_| self.cut);
                let piece = end.map_or(part, |end| &part[..end]);
                match piece {
                    "" if self.merged => {}
                    "." if self.resolved => {}
                    ".." if self.resolved => drop(pieces.pop()),
                    piece => pieces.push(piece),
                }
                if end.is_some_and(|end| !part[end..].starts_with(';')) {
                    break 'path;
                }
            }
        }
        let mut path = String::new();
        for piece in pieces {
            path.push('/');
            path.push_str(piece);
        }
        // Of slashes at the end, one does not count.
        if path.ends_with('/') {
            path.pop();
        }
        path
    }
}

impl Segment {
    fn read(raw: &str) -> Result<Self, Ambiguous> {
        if !raw.contains(['%', ';']) {
            return Ok(Self { once: raw.to_owned(), twice: None });
        }
        let once = decode(raw)?;
        let dots = |part: &str| matches!(part.split([';', '?', '#']).next(), Some("." | ".."));
        if once.split('/').any(dots) {
            return Err(Ambiguous("dots in disguise"));
        }
        if !escapes(&once) {
            return Ok(Self { once, twice: None });
        }
        let twice = decode(&once)?;
        let meant = |text: &str| text.chars().filter(|c| matches!(c, '/' | ';' | '?' | '#')).count();
        if escapes(&twice) || meant(&twice) > meant(&once) || twice.split('/').any(dots) {
            return Err(Ambiguous("escaped more than once"));
        }
        Ok(Self { once, twice: Some(twice) })
    }
}

/// Whether something in it reads like an escape.
fn escapes(text: &str) -> bool {
    text.as_bytes()
        .windows(3)
        .any(|three| three[0] == b'%' && three[1].is_ascii_hexdigit() && three[2].is_ascii_hexdigit())
}

/// Escapes decoded once; a `%` that begins none is refused.
fn decode(text: &str) -> Result<String, Ambiguous> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        let byte = match byte {
            b'%' => {
                let mut digit = || rest.next().and_then(|digit| char::from(digit).to_digit(16));
                let (Some(high), Some(low)) = (digit(), digit()) else { return Err(Ambiguous("broken escape")) };
                // Two digits make a byte.
                (high * 16 + low) as u8
            }
            byte => byte,
        };
        if byte < 0x20 || matches!(byte, 0x7f | b'\\') {
            return Err(Ambiguous("escape of a control character or backslash"));
        }
        bytes.push(byte);
    }
    String::from_utf8(bytes).map_err(|_| Ambiguous("not UTF-8"))
}

/// A host as it is compared: in lower case, without port and the dot at the end.
pub fn host(authority: &str) -> Result<String, Ambiguous> {
    if authority.bytes().any(|byte| matches!(byte, b'\\' | b'@' | b'#' | b'?' | b'/' | b'%' | b';' | 0..=0x20 | 0x7f)) {
        return Err(Ambiguous("host"));
    }
    let name = match authority.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) && !authority.ends_with(']') => name,
        _ => authority,
    };
    Ok(name.strip_suffix('.').unwrap_or(name).to_ascii_lowercase())
}

#[cfg(test)]
#[path = "path_tests.rs"]
mod tests;
