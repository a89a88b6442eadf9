//! How GeoNature names the file of an export: its label without accents and signs, spaces as underscores.

/// The name of the file of an export, without its extension.
pub fn stem(label: &str) -> String {
    label
        .chars()
        .filter_map(plain)
        .filter(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.' | '(' | ')'))
        .collect()
}

/// A letter without its accent; none for what has no letter of ASCII behind it.
fn plain(letter: char) -> Option<char> {
    Some(match letter {
        ' ' | '\u{a0}' => '_',
        'à' | 'á' | 'â' | 'ã' | 'ä' | 'å' => 'a',
        'À' | 'Á' | 'Â' | 'Ã' | 'Ä' | 'Å' => 'A',
        'ç' => 'c',
        'Ç' => 'C',
        'è' | 'é' | 'ê' | 'ë' => 'e',
        'È' | 'É' | 'Ê' | 'Ë' => 'E',
        'ì' | 'í' | 'î' | 'ï' => 'i',
        'Ì' | 'Í' | 'Î' | 'Ï' => 'I',
        'ñ' => 'n',
        'Ñ' => 'N',
        'ò' | 'ó' | 'ô' | 'õ' | 'ö' => 'o',
        'Ò' | 'Ó' | 'Ô' | 'Õ' | 'Ö' => 'O',
        'ù' | 'ú' | 'û' | 'ü' => 'u',
        'Ù' | 'Ú' | 'Û' | 'Ü' => 'U',
        'ý' | 'ÿ' => 'y',
        'Ý' | 'Ÿ' => 'Y',
        'º' => 'o',
        'ª' => 'a',
        '²' => '2',
        '³' => '3',
        '¹' => '1',
        other if other.is_ascii() => other,
        _ => return None,
    })
}
