//! What the worker of a run hands to those that write for it: pages as they came, with what of the source they cover.
//! Pure: bytes in, bytes out.

use crate::error::Failure;

/// Some pages, to be written in one transaction.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Handover {
    /// What the run has found out so far that decides how records are read; empty: nothing new.
    pub findings: String,
    pub pages: Pages,
}

/// What a page covers of its slice.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Span {
    pub slice: i32,
    /// Keys that need not be read again once its items are written.
    pub covered: (i64, i64),
    pub hidden: u64,
}

/// Pages, side by side.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Pages {
    pub spans: Vec<Span>,
    /// The items of each.
    pub texts: Vec<Vec<String>>,
}

impl Pages {
    pub fn add(&mut self, span: Span, items: Vec<String>) {
        self.spans.push(span);
        self.texts.push(items);
    }
}

/// The bytes of a handover; the items are not copied before.
pub fn encode<'t>(
    findings: &str,
    pages: impl ExactSizeIterator<Item = (Span, &'t [String])> + Clone,
) -> Vec<u8> {
    let texts = pages.clone().flat_map(|(_, items)| items);
    let size: usize = texts.map(|text| text.len() + 8).sum();
    let mut bytes = Vec::with_capacity(size + findings.len() + 64 * pages.len() + 64);
    put_text(&mut bytes, findings);
    put(&mut bytes, pages.len() as i64);
    for (span, items) in pages {
        put(&mut bytes, i64::from(span.slice));
        put(&mut bytes, span.covered.0);
        put(&mut bytes, span.covered.1);
        put(&mut bytes, span.hidden as i64);
        put(&mut bytes, items.len() as i64);
        items.iter().for_each(|item| put_text(&mut bytes, item));
    }
    bytes
}

impl Handover {
    pub fn decode(bytes: &[u8]) -> Result<Handover, Failure> {
        let mut rest = bytes;
        let findings = take_text(&mut rest)?;
        let mut pages = Pages::default();
        for _ in 0..take(&mut rest)? {
            let slice = take(&mut rest)? as i32;
            let covered = (take(&mut rest)?, take(&mut rest)?);
            let hidden = take(&mut rest)? as u64;
            let count = take(&mut rest)?;
            let items = (0..count).map(|_| take_text(&mut rest));
            let items = items.collect::<Result<_, Failure>>()?;
            let span = Span {
                slice,
                covered,
                hidden,
            };
            pages.add(span, items);
        }
        Ok(Handover { findings, pages })
    }
}

fn put(bytes: &mut Vec<u8>, number: i64) {
    bytes.extend_from_slice(&number.to_le_bytes());
}

fn put_text(bytes: &mut Vec<u8>, text: &str) {
    put(bytes, text.len() as i64);
    bytes.extend_from_slice(text.as_bytes());
}

fn take(rest: &mut &[u8]) -> Result<i64, Failure> {
    let (number, after) = rest.split_first_chunk::<8>().ok_or_else(cut_short)?;
    *rest = after;
    Ok(i64::from_le_bytes(*number))
}

fn take_text(rest: &mut &[u8]) -> Result<String, Failure> {
    let length = usize::try_from(take(rest)?).map_err(|_| cut_short())?;
    let (text, after) = rest.split_at_checked(length).ok_or_else(cut_short)?;
    *rest = after;
    String::from_utf8(text.to_vec()).map_err(|_| cut_short())
}

fn cut_short() -> Failure {
    Failure::new(
        "XX000",
        "a batch did not come whole from the worker of its run",
    )
}
