//! `emperor completions` and `emperor man`: what is derived from the grammar.

use std::io::{self, Write as _};

use clap::CommandFactory as _;
use clap_complete::Shell;
use clap_mangen::Man;

use super::args::Cli;
use super::output;

/// A completion script.
pub(super) fn completions(shell: Shell) -> io::Result<()> {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Cli::command(), "emperor", &mut script);
    output::print_bytes(&script)
}

/// The manual page, every command in it.
pub(super) fn manual() -> io::Result<()> {
    output::print_bytes(&manual_page()?)
}

fn manual_page() -> io::Result<Vec<u8>> {
    let mut command = Cli::command();
    command.build();
    let mut page = Vec::new();
    let main = Man::new(command.clone());
    main.render_title(&mut page)?;
    main.render_name_section(&mut page)?;
    main.render_synopsis_section(&mut page)?;
    main.render_description_section(&mut page)?;
    main.render_options_section(&mut page)?;
    writeln!(page, ".SH COMMANDS")?;
    for subcommand in command.get_subcommands() {
        render_subcommand(subcommand, &mut page)?;
    }
    main.render_extra_section(&mut page)?;
    main.render_version_section(&mut page)?;
    Ok(page)
}

fn render_subcommand(command: &clap::Command, page: &mut Vec<u8>) -> io::Result<()> {
    let inner: Vec<_> = command
        .get_subcommands()
        .filter(|inner| inner.get_name() != "help")
        .collect();
    if !inner.is_empty() {
        return inner
            .into_iter()
            .try_for_each(|inner| render_subcommand(inner, page));
    }
    if command.get_name() == "help" {
        return Ok(());
    }
    let usage = command.clone().render_usage().to_string();
    let usage = usage.trim_start_matches("Usage: ").replace('-', "\\-");
    let about = command.get_about().map(ToString::to_string);
    writeln!(page, ".TP\n\\fB{usage}\\fR\n{}", about.unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_manual_has_every_command() {
        let page = String::from_utf8(manual_page().unwrap()).unwrap();
        for command in [
            "emperor run",
            "emperor site add",
            "emperor db psql",
            "emperor man",
        ] {
            assert!(page.contains(command), "{command} is missing:\n{page}");
        }
        assert!(
            page.contains("EXAMPLES") || page.contains("Examples"),
            "{page}"
        );
    }
}
