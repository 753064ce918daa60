//! Join codes as QR codes, in half blocks.

use qrcode::render::unicode::Dense1x2;
use qrcode::{EcLevel, QrCode};

/// The picture of a join code, light on dark as terminals are; `None` when it is too much for a QR
/// code, or wider than `columns`.
pub(crate) fn picture(code: &str, columns: Option<usize>) -> Option<String> {
    // Capital letters take less than two thirds of the room, and mean the same in bech32m.
    let code = QrCode::with_error_correction_level(code.to_ascii_uppercase(), EcLevel::L).ok()?;
    let picture = code
        .render::<Dense1x2>()
        .dark_color(Dense1x2::Light)
        .light_color(Dense1x2::Dark)
        .quiet_zone(true)
        .build();
    let width = picture.lines().map(|line| line.chars().count()).max()?;
    (columns.is_none_or(|columns| width <= columns)).then_some(picture)
}

/// The width of the terminal at stdout, in characters.
pub(crate) fn columns() -> Option<usize> {
    let size = rustix::termios::tcgetwinsize(std::io::stdout()).ok()?;
    (size.ws_col > 0).then_some(usize::from(size.ws_col))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As long as a code with two address hints is.
    fn code() -> String {
        format!("dunlin1{}", "qpzry9x8gf2tvdw0".repeat(12))
    }

    #[test]
    fn a_code_is_a_square_picture_with_a_light_border() {
        let picture = picture(&code(), None).unwrap();
        let lines: Vec<_> = picture.lines().collect();
        let width = lines[0].chars().count();
        assert!(lines.iter().all(|line| line.chars().count() == width));
        assert!(width.div_ceil(2) == lines.len());
        assert!(lines[0].chars().all(|c| c == '█'));
        assert!(width <= 70, "{width}");
    }

    #[test]
    fn a_picture_that_would_wrap_is_not_drawn() {
        assert_eq!(picture(&code(), Some(40)), None);
        assert!(picture(&code(), Some(200)).is_some());
    }

    #[test]
    fn too_long_a_code_has_no_picture() {
        assert_eq!(picture(&"q".repeat(10_000), None), None);
    }
}
