//! `compose cp`.

use std::path::Path;

use clap::Args;

#[derive(Debug, Args)]
pub struct Copy {
    /// What is copied: `SERVICE:PATH`, a path of the host, or `-` for a tar archive on standard input
    #[arg(value_name = "SOURCE")]
    pub source: Place,
    /// Where to: `SERVICE:PATH`, a path of the host, or `-` for a tar archive on standard output
    #[arg(value_name = "DESTINATION")]
    pub destination: Place,
    /// Copy into the containers of `compose run` too
    #[arg(long)]
    pub all: bool,
    /// Keep the user and group of the files
    #[arg(short, long)]
    pub archive: bool,
    /// Copy what a symbolic link leads to
    #[arg(short = 'L', long)]
    pub follow_link: bool,
    /// Which replica, from 1 [default: into all of them, out of the first]
    #[arg(long, value_name = "NUMBER")]
    pub index: Option<u32>,
}

/// One side of a copy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    /// A path in a service's container.
    Service(String, String),
    /// A path of the host.
    Host(String),
    /// Standard input or output.
    Stream,
}

impl From<String> for Place {
    fn from(text: String) -> Self {
        if text == "-" {
            return Self::Stream;
        }
        match text.split_once(':') {
            // A name that has a colon in it is told by the path before it: `./a:b`.
            Some((service, path)) if !Path::new(&text).is_absolute() && !service.starts_with('.') => {
                Self::Service(service.to_owned(), path.to_owned())
            }
            Some(_) | None => Self::Host(text),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_told_apart() {
        let service = |name: &str, path: &str| Place::Service(name.to_owned(), path.to_owned());
        assert_eq!(Place::from("api:/etc/x".to_owned()), service("api", "/etc/x"));
        assert_eq!(Place::from("api:a:b".to_owned()), service("api", "a:b"));
        for host in ["/a:b", "./a:b", "a", "../x:y"] {
            assert_eq!(Place::from(host.to_owned()), Place::Host(host.to_owned()));
        }
        assert_eq!(Place::from("-".to_owned()), Place::Stream);
    }
}
