//! Numbers as people read them.

/// A percentage with two decimals.
pub fn percent(value: f64) -> String {
    format!("{value:.2}")
}

/// An interval of percentages.
pub fn percent_interval([low, high]: [f64; 2]) -> String {
    format!("{low:.2} to {high:.2}")
}

/// A number in as many digits as matter, at least this many, and no more than four places: 0.00012, 1.234, 56789.
pub fn significant(value: f64, digits: usize) -> String {
    if value == 0.0 || !value.is_finite() {
        return format!("{value}");
    }
    let whole = value.abs().log10().floor() as i32 + 1;
    let places = (digits as i32 - whole).max(0) as usize;
    let text = format!("{value:.places$}");
    if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.').into() } else { text }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As C's `printf("%.4g")` writes them, but for numbers that it would write with an exponent.
    #[test]
    fn numbers_keep_the_digits_that_matter() {
        let numbers = [0.1, 2.0, 0.000_123_45, 123_456.0, 1.999_96, -0.5];
        let found = numbers.map(|number| significant(number, 4));
        assert_eq!(found, ["0.1", "2", "0.0001234", "123456", "2", "-0.5"]);
    }
}
