//! `--format` of verbs where Docker takes a Go template.

use clap::Args;

/// `--format` of a verb that lists.
#[derive(Debug, Args)]
pub struct ListingFormat {
    /// How to print: `table`; `json`, one object a line; a Go template for each line, with Docker's fields and functions,
    /// as `'{{.Name}}'`; or `'table TEMPLATE'`, with headers, and `\t` between columns
    #[arg(id = "format", long = "format", value_name = "FORMAT", default_value = "table")]
    pub text: String,
}

/// `--format` of a verb that inspects.
#[derive(Debug, Args)]
pub struct InspectionFormat {
    /// How to print: `json` is all on one line; or a Go template for each, with Docker's fields and functions, as
    /// `'{{.Name}}'` or `'{{json .Labels}}'` [default: indented JSON]
    #[arg(
        id = "format",
        short = 'f',
        long = "format",
        value_name = "FORMAT",
        default_value = "",
        hide_default_value = true
    )]
    pub text: String,
}
