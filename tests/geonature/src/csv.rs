//! Reading the reference tables that the target database is filled from, so that source
//! and target speak of the same codes and taxa.

/// The records of a CSV text with a header line, as lists of fields.
pub fn records(text: &str) -> Vec<Vec<String>> {
    let mut records = Vec::new();
    let mut record = Vec::new();
    let mut field = String::new();
    let mut quoted = false;
    let mut characters = text.chars().peekable();
    while let Some(character) = characters.next() {
        match character {
            '"' if quoted && characters.peek() == Some(&'"') => {
                characters.next();
                field.push('"');
            }
            '"' => quoted = !quoted,
            ',' if !quoted => record.push(std::mem::take(&mut field)),
            '\r' if !quoted => {}
            '\n' if !quoted => {
                record.push(std::mem::take(&mut field));
                records.push(std::mem::take(&mut record));
            }
            other => field.push(other),
        }
    }
    if !field.is_empty() || !record.is_empty() {
        record.push(field);
        records.push(record);
    }
    if !records.is_empty() {
        records.remove(0);
    }
    records
}

#[cfg(test)]
mod tests {
    use super::records;

    #[test]
    fn quotes_hide_commas_and_newlines() {
        let read = records("a,b\n1,\"x, \"\"y\"\"\nz\"\n");
        assert_eq!(read, [["1", "x, \"y\"\nz"]]);
    }
}
