//! The colours of the form for people; all of them off where nobody looks.

use std::io;

use anstream::AutoStream;
use anstyle::{AnsiColor, Style};
use clap::ColorChoice;

use crate::words::Asks;

/// What each part of a line looks like. A style that does nothing writes nothing.
#[derive(Clone, Copy, Debug, Default)]
pub struct Palette {
    /// What one looks up rather than reads.
    pub quiet: Style,
    /// Who.
    pub name: Style,
    /// A timer that is armed.
    pub arms: Style,
    /// A timer that is stopped.
    pub disarms: Style,
    /// A call that failed, and why.
    pub failed: Style,
    /// What is not as one would expect of a call that went well.
    pub odd: Style,
}

impl Palette {
    /// As asked for. By itself only on a terminal that has colours, unless the environment says
    /// otherwise (`NO_COLOR`, `CLICOLOR`, `CLICOLOR_FORCE`).
    pub fn chosen(asked: ColorChoice) -> Self {
        let is_coloured = match asked {
            ColorChoice::Always => true,
            ColorChoice::Never => false,
            ColorChoice::Auto => AutoStream::choice(&io::stdout()) != anstream::ColorChoice::Never,
        };
        if is_coloured { Self::coloured() } else { Self::default() }
    }

    /// The style of what a call asks for.
    pub const fn of(&self, asks: Asks, has_failed: bool) -> Style {
        match asks {
            Asks::Invalid => self.failed,
            _ if has_failed => self.quiet,
            Asks::Arm => self.arms,
            Asks::Disarm => self.disarms,
            Asks::Unknown => self.odd,
        }
    }

    /// With all colours: those of the terminal's own palette, so that they suit a bright
    /// background, too.
    pub fn coloured() -> Self {
        Self {
            quiet: Style::new().dimmed(),
            name: Style::new().bold(),
            arms: AnsiColor::Green.on_default(),
            disarms: AnsiColor::Yellow.on_default(),
            failed: AnsiColor::Red.on_default().bold(),
            odd: AnsiColor::Magenta.on_default().bold(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_palette_without_colours_has_none_anywhere() {
        let all = |palette: Palette| {
            [
                palette.quiet,
                palette.name,
                palette.arms,
                palette.disarms,
                palette.failed,
                palette.odd,
            ]
        };
        assert!(all(Palette::default()).iter().all(|style| style.is_plain()));
        assert!(all(Palette::coloured()).iter().all(|style| !style.is_plain()));
    }

    #[test]
    fn what_is_asked_for_outranks_where_it_goes() {
        assert_eq!(Palette::chosen(ColorChoice::Always).failed, Palette::coloured().failed);
        assert_eq!(Palette::chosen(ColorChoice::Never).failed, Style::new());
    }
}
