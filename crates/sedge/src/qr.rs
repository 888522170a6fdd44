//! QR codes for a terminal.

use fast_qr::{ECL, QRBuilder, QRCode};
use sedge_base::ErrorKind;

use crate::failed::Failed;

/// Light modules around the code, as ISO/IEC 18004 asks for.
const MARGIN: usize = 4;

/// Draws a text as a QR code, two rows of modules to a line: dark on light, whatever the terminal's
/// colours are.
pub(crate) fn draw(text: &str) -> Result<String, Failed> {
    let code = QRBuilder::new(text).ecl(ECL::M).build().map_err(|err| {
        Failed::new(ErrorKind::Invalid, format!("this does not fit into a QR code: {err}"))
    })?;
    let style = anstyle::Style::new()
        .fg_color(Some(anstyle::AnsiColor::Black.into()))
        .bg_color(Some(anstyle::AnsiColor::BrightWhite.into()));
    let lines = lines(&code).into_iter().map(|it| format!("{style}{it}{style:#}\n"));
    Ok(lines.collect())
}

fn lines(code: &QRCode) -> Vec<String> {
    let side = code.size + 2 * MARGIN;
    let is_dark = |row: usize, column: usize| {
        let (row, column) = (row.wrapping_sub(MARGIN), column.wrapping_sub(MARGIN));
        row < code.size && column < code.size && code[row][column].value()
    };
    let half = |row: usize, column: usize| match (is_dark(row, column), is_dark(row + 1, column)) {
        (true, true) => '█',
        (true, false) => '▀',
        (false, true) => '▄',
        (false, false) => ' ',
    };
    (0..side).step_by(2).map(|row| (0..side).map(|column| half(row, column)).collect()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_module_is_drawn_with_a_margin() {
        let code = QRBuilder::new("sedge join").ecl(ECL::M).build().unwrap();
        let lines = lines(&code);
        let side = code.size + 2 * MARGIN;
        assert_eq!(lines.len(), side.div_ceil(2));
        let drawn = |row: usize, column: usize| {
            let half = lines[row / 2].chars().nth(column).unwrap();
            if row.is_multiple_of(2) { "█▀".contains(half) } else { "█▄".contains(half) }
        };
        for row in 0..side {
            for column in 0..side {
                let inside = (MARGIN..side - MARGIN).contains(&row)
                    && (MARGIN..side - MARGIN).contains(&column);
                let dark = inside && code[row - MARGIN][column - MARGIN].value();
                assert_eq!(drawn(row, column), dark, "{row} {column}");
            }
        }
        // The first finder pattern: a dark corner.
        assert!(drawn(MARGIN, MARGIN) && drawn(MARGIN + 6, MARGIN + 6));
    }

    #[test]
    fn what_is_too_long_is_refused() {
        assert!(draw(&"x".repeat(5000)).is_err());
    }
}
