//! The elements of a JSON array, found by counting brackets; whether each is valid JSON is for its reader to say.

use super::{Broken, text_of, too_long};

/// Names of the members that hold the records, where the file is an object.
const HOLDERS: [&[u8]; 2] = [b"features", b"items"];
/// A longer name is none of them.
const LONGEST_NAME: usize = 64;

pub(super) struct Elements {
    longest: usize,
    at: At,
    /// The value that is being read.
    scan: Option<Scan>,
    /// What came of it in earlier chunks.
    kept: Vec<u8>,
    /// It is longer than it may be: the rest is passed over.
    overlong: bool,
    /// The array stands in an object.
    within: bool,
}

/// Where in the file we are, between two values.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum At {
    Start,
    NameOrEnd,
    Name,
    Colon {
        holder: bool,
    },
    Member {
        holder: bool,
    },
    AfterMember,
    ElementOrEnd,
    Element,
    AfterElement,
    /// Members of the object may come after the array.
    End,
}

/// A value being passed through.
#[derive(Clone, Copy)]
struct Scan {
    role: Role,
    depth: u32,
    in_text: bool,
    escaped: bool,
    bare: bool,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Role {
    Name,
    Passed,
    Record,
}

impl Elements {
    pub fn new(longest: usize) -> Self {
        Self {
            longest,
            at: At::Start,
            scan: None,
            kept: Vec::new(),
            overlong: false,
            within: false,
        }
    }

    /// `before`: bytes of the file before these.
    pub fn feed(&mut self, bytes: &[u8], before: u64, out: &mut Vec<String>) -> Result<(), Broken> {
        let mut position = 0;
        while position < bytes.len() {
            if let Some(scan) = &mut self.scan {
                let rest = &bytes[position..];
                let (length, whole) = scan.advance(rest);
                let role = scan.role;
                self.keep(&rest[..length], role, whole, out);
                position += length;
                continue;
            }
            let byte = bytes[position];
            if !byte.is_ascii_whitespace() {
                self.between(byte)
                    .map_err(|wanted| unexpected(byte, wanted, before + position as u64))?;
            }
            // The first byte of a value is part of it.
            position += usize::from(self.scan.is_none());
        }
        Ok(())
    }

    pub fn finish(&self) -> Result<(), Broken> {
        match (self.at, &self.scan) {
            (At::End, None) => Ok(()),
            _ => Err(Broken::CutShort),
        }
    }

    /// Keeps what came of a value; when it is whole, it is given out and what comes next is known.
    fn keep(&mut self, part: &[u8], role: Role, whole: bool, out: &mut Vec<String>) {
        let most = match role {
            Role::Record => self.longest,
            Role::Name => LONGEST_NAME,
            Role::Passed => 0,
        };
        let room = most.saturating_sub(self.kept.len());
        self.overlong |= part.len() > room;
        if !whole {
            self.kept.extend_from_slice(&part[..part.len().min(room)]);
            return;
        }
        match role {
            Role::Passed => self.at = At::AfterMember,
            Role::Name => {
                self.kept.extend_from_slice(&part[..part.len().min(room)]);
                let name = self.kept.strip_prefix(b"\"").unwrap_or_default();
                let name = name.strip_suffix(b"\"").unwrap_or_default();
                let holder = HOLDERS.contains(&name) && !self.within;
                self.at = At::Colon { holder };
            }
            Role::Record => {
                let text = match (self.overlong, self.kept.is_empty()) {
                    (false, true) => text_of(part),
                    (overlong, _) => {
                        self.kept.extend_from_slice(&part[..part.len().min(room)]);
                        match overlong {
                            true => too_long(self.longest, &self.kept),
                            false => text_of(&self.kept),
                        }
                    }
                };
                out.push(text);
                self.at = At::AfterElement;
            }
        }
        self.scan = None;
        self.overlong = false;
        self.kept.clear();
        // One that was long is not to be paid for until the end.
        self.kept.shrink_to(64 * 1024);
    }

    /// What a byte between two values means; an error says what was wanted.
    fn between(&mut self, byte: u8) -> Result<(), &'static str> {
        self.at = match (self.at, byte) {
            (At::Start, b'[') => At::ElementOrEnd,
            (At::Start, b'{') => At::NameOrEnd,
            (At::Colon { holder }, b':') => At::Member { holder },
            (At::Member { holder: true }, b'[') => {
                self.within = true;
                At::ElementOrEnd
            }
            (At::AfterMember, b',') => At::Name,
            (At::NameOrEnd | At::AfterMember, b'}') if self.within => At::End,
            (At::ElementOrEnd | At::AfterElement, b']') if self.within => At::AfterMember,
            (At::ElementOrEnd | At::AfterElement, b']') => At::End,
            (At::AfterElement, b',') => At::Element,
            (At::NameOrEnd | At::Name, b'"') => return self.value(Role::Name, byte),
            (At::Member { holder: false }, byte) if begins_value(byte) => {
                return self.value(Role::Passed, byte);
            }
            (At::ElementOrEnd | At::Element, byte) if begins_value(byte) => {
                return self.value(Role::Record, byte);
            }
            (at, _) => return Err(at.wanted()),
        };
        Ok(())
    }

    fn value(&mut self, role: Role, first: u8) -> Result<(), &'static str> {
        self.scan = Some(Scan {
            role,
            depth: 0,
            in_text: false,
            escaped: false,
            bare: !matches!(first, b'"' | b'{' | b'['),
        });
        Ok(())
    }
}

fn begins_value(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'"' | b'{' | b'[' | b'-')
}

fn unexpected(byte: u8, wanted: &str, at: u64) -> Broken {
    let what = format!("{:?} stands where {wanted} should", char::from(byte));
    Broken::Unexpected { what, at }
}

impl At {
    fn wanted(self) -> &'static str {
        match self {
            At::Start => "an array or an object",
            At::NameOrEnd | At::Name => "the name of a member",
            At::Colon { .. } => "a colon",
            At::Member { holder: true } => "the array of the records",
            At::Member { holder: false } => "a value",
            At::AfterMember => "a comma, or the end of the object after its records,",
            At::ElementOrEnd | At::Element => "a record",
            At::AfterElement => "a comma or the end of the array",
            At::End => "the end of the file",
        }
    }
}

impl Scan {
    /// How many of these bytes are of the value, and whether it is whole with them.
    fn advance(&mut self, bytes: &[u8]) -> (usize, bool) {
        if self.bare {
            let end = |byte: &u8| byte.is_ascii_whitespace() || matches!(byte, b',' | b']' | b'}');
            return match bytes.iter().position(end) {
                Some(length) => (length, true),
                None => (bytes.len(), false),
            };
        }
        let mut position = 0;
        while position < bytes.len() {
            if self.in_text {
                position += self.pass_text(&bytes[position..]);
            } else {
                match bytes[position] {
                    b'"' => self.in_text = true,
                    b'{' | b'[' => self.depth += 1,
                    b'}' | b']' => self.depth -= 1,
                    _ => {}
                }
                position += 1;
            }
            if self.depth == 0 && !self.in_text {
                return (position, true);
            }
        }
        (position, false)
    }

    /// Passes through a text up to its closing quote, or to the end of what there is.
    fn pass_text(&mut self, bytes: &[u8]) -> usize {
        let mut position = 0;
        if self.escaped {
            self.escaped = false;
            position = 1;
        }
        while let Some(found) = bytes
            .get(position..)
            .and_then(|rest| rest.iter().position(|byte| matches!(byte, b'"' | b'\\')))
        {
            position += found + 1;
            if bytes[position - 1] == b'"' {
                self.in_text = false;
                return position;
            }
            if position == bytes.len() {
                self.escaped = true;
                return position;
            }
            position += 1;
        }
        bytes.len()
    }
}
