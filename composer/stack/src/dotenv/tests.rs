//! Values here are what Docker Compose 2.40.3 read from the same text, except where a test says otherwise.

use std::fmt::Write as _;
use std::path::Path;

use super::*;

struct Outcome {
    variables: BTreeMap<String, Variable>,
    report: Report,
}

impl Outcome {
    fn of(text: &str) -> Self {
        Self::over(BTreeMap::new(), text, parse)
    }

    fn raw(text: &str) -> Self {
        Self::over(BTreeMap::new(), text, parse_raw)
    }

    fn over(
        mut variables: BTreeMap<String, Variable>,
        text: &str,
        parse: fn(&Numbered, Outer<'_, '_>, &mut BTreeMap<String, Variable>, &mut Report),
    ) -> Self {
        let mut report = Report::default();
        let lookup = |name: &str| match name {
            "SH" => Some(("shell", Giver::Caller)),
            "EMPTY" => Some(("", Giver::Caller)),
            "DOLLAR" => Some(("a$B", Giver::Caller)),
            _ => None,
        };
        let file = report.sources.add(Path::new("f.env"), text.to_owned());
        parse(&file, &lookup, &mut variables, &mut report);
        Self { variables, report }
    }

    /// `NAME=value` for each, debug-quoted so that control characters show.
    fn shown(&self) -> String {
        let mut out = Vec::new();
        for (name, variable) in &self.variables {
            out.push(format!("{name}={}", variable.value.escape_debug()));
        }
        out.join(";").replace("\\\"", "\"").replace("\\'", "'")
    }

    /// `LINE:COLUMN message` for each diagnostic.
    fn said(&self) -> String {
        let mut out = String::new();
        for found in &self.report.found {
            let place = found.place.as_ref().map_or((0, 0), |place| (place.line(), place.column()));
            let _ = writeln!(out, "{}:{} {}", place.0, place.1, found.message);
        }
        out
    }

    /// What the file shows where a variable's value is.
    fn written(&self, name: &str) -> &str {
        self.report.sources.slice(self.variables[name].span.unwrap())
    }
}

#[track_caller]
fn read(cases: &[(&str, &str)]) {
    for (text, expected) in cases {
        let outcome = Outcome::of(text);
        assert_eq!(outcome.shown(), *expected, "{text:?}");
        assert_eq!(outcome.said(), "", "{text:?}");
    }
}

#[track_caller]
fn says(cases: &[(&str, &str, &str)]) {
    for (text, expected, said) in cases {
        let outcome = Outcome::of(text);
        assert_eq!(outcome.shown(), *expected, "{text:?}");
        assert_eq!(outcome.said().trim_end(), *said, "{text:?}");
    }
}

#[test]
fn names_and_separators() {
    read(&[
        ("A=1", "A=1"),
        ("A = 1 \n\tB\t=\t2\t\n", "A=1;B=2"),
        ("A: 1\nB:2\nC : \"x y\" # c\nD:=1\n", "A=1;B=2;C=x y;D==1"),
        ("A=a=b:c\nB==1\nhttp://x\n", "A=a=b:c;B==1;http=//x"),
        ("A.B=1\nA-B=2\nA[0]=3\n1A=4\n_=5\nÄ=6\n", "1A=4;A-B=2;A.B=1;A[0]=3;_=5;Ä=6"),
        ("A=\nB=   \nC=''\nD=\"\"\nE=", "A=;B=;C=;D=;E="),
        ("A=1\nA=2\n", "A=2"),
        ("A\u{a0}=\u{a0}1\n", "A=1"),
        ("", ""),
        ("\n \n# c\n#A=1\n  # c", ""),
    ]);
}

#[test]
fn export_is_passed_over() {
    read(&[
        ("export A=1\nexport\tB=2\nexport   C = 3\n  export D=4\n", "A=1;B=2;C=3;D=4"),
        ("exportA=1\nexport=2\n", "export=2;exportA=1"),
        ("export SH\nexport NONE\nexport\nA=1\n", "A=1;SH=shell"),
    ]);
}

#[test]
fn a_name_alone_is_handed_on_from_the_caller() {
    // Docker Compose takes one that the file ends with, without a line break, for the value of a nameless variable.
    read(&[("SH\r\nNONE\nEMPTY \n", "EMPTY=;SH=shell"), ("SH", "SH=shell"), ("A=1\nA\n", "A=1")]);
}

#[test]
fn comments() {
    read(&[
        ("A=1 # c\nB=1# c\nC=1\t# c\nD=a #b #c\nE=a#b\n", "A=1;B=1# c;C=1\\t# c;D=a;E=a#b"),
        ("A='x # y' # c\nB=\"x # y\"# c\nC='x'\t# c\n", "A=x # y;B=x # y;C=x"),
        ("A=#c\n", "A=#c"),
    ]);
    says(&[("A= # c\n", "A=# c", "1:4 this is the variable's value, not a comment")]);
}

#[test]
fn lines_of_windows_and_byte_order_marks() {
    read(&[
        ("\u{feff}A=1\r\nB='2'\r\n# c\r\nC=\"3\" # c\r\n", "A=1;B=2;C=3"),
        ("A=\"a\r\nb\"\r\nB=1\r\n", "A=a\\r\\nb;B=1"),
    ]);
}

#[test]
fn unquoted_values() {
    read(&[
        (
            "A=a b  c  \nB=it's\nC=x\"y\"z\nD=[x]\nE={'x':'y'}\n",
            "A=a b  c;B=it's;C=x\"y\"z;D=[x];E={'x':'y'}",
        ),
        ("A=a\\ b\nB=\\n\nC=\\\nD=1\n", "A=a\\\\ b;B=\\\\n;C=\\\\;D=1"),
        ("A=$SH\nB=${SH}x\nC=$$SH\nD=\\$SH\n", "A=shell;B=shellx;C=$SH;D=\\\\shell"),
        ("A=$\nB=$1 $(date) `x`\n", "A=$;B=$1 $(date) `x`"),
        ("A=${NO:-d e}\nB=${NO-\"q\"}\nC=${EMPTY:+x}${SH+y}\n", "A=d e;B=\"q\";C=y"),
    ]);
}

#[test]
fn single_quotes_are_literal() {
    read(&[
        ("A='$SH ${SH} $$'\nB='a\\nb'\nC='\\$'\n", "A=$SH ${SH} $$;B=a\\\\nb;C=\\\\$"),
        ("A='a\\'b'\nB='\\\\'\nC='\\\\\\'x'\nD='\\\"'\n", "A=a'b;B=\\\\\\\\;C=\\\\\\\\'x;D=\\\\\""),
        ("A='a\n\n# no\nB=1'\nC=2\n", "A=a\\n\\n# no\\nB=1;C=2"),
    ]);
}

#[test]
fn double_quotes_have_escapes_and_variables() {
    read(&[
        ("A=\"$SH ${SH}\"\nB=\"$$SH\"\nC=\"\\$SH\"\n", "A=shell shell;B=$SH;C=$SH"),
        ("A=\"\\\\$SH\"\nB=\"\\\\\\$SH\"\n", "A=\\\\shell;B=\\\\$SH"),
        ("A=\"a\\nb\\rc\\td\"\nB=\"\\a\\b\\f\\v\"\n", "A=a\\nb\\rc\\td;B=\\u{7}\\u{8}\\u{c}\\u{b}"),
        ("A=\"\\c\\x\\'\\101\"\nB=\"a\\\nb\"\nC=\"\\ü\"\n", "A=\\\\c\\\\x\\\\'\\\\101;B=a\\\\\\nb;C=\\\\ü"),
        ("A=\"{\\\"k\\\": \\\"v\\\"}\"\nB=\"\\\\\"\nC=\"\\\\n\"\n", "A={\"k\": \"v\"};B=\\\\;C=\\\\n"),
        ("A=\"\\0101\\01011\\0377\"\n", "A=AA1ÿ"),
        ("A=\"\\0 \\01 \\012 \\0400 \\0999\"\n", "A=\\\\ \\\\1 \\\\12 \\\\400 \\\\999"),
        ("A=\"${NO:-\\\"q\\\"} ${NO:-a #b}\"\n", "A=\"q\" a #b"),
        ("A=\"a\nb\" # c\nB=1\n", "A=a\\nb;B=1"),
    ]);
}

#[test]
fn values_refer_to_the_caller_then_to_lines_above() {
    read(&[
        ("A=1\nB=$A\nA=2\nC=$A\n", "A=2;B=1;C=2"),
        ("SH=file\nA=$SH\n", "A=shell;SH=file"),
        ("A='$SH'\nB=$A\nC=\"$DOLLAR\"\n", "A=$SH;B=$SH;C=a$B"),
        ("A=1\nA=${A}2\n", "A=12"),
    ]);
    let first = Outcome::of("A=1\nX=x\n");
    let second = Outcome::over(first.variables, "B=$A\nA=2\nC=$A\n", parse);
    assert_eq!(second.shown(), "A=2;B=1;C=2;X=x");
}

#[test]
fn unset_variables_are_warned_of_once() {
    says(&[
        (
            "A=$NO\nB=x$NO-${NO2}\n",
            "A=;B=x-",
            "1:3 the variable `NO` is not set; it stands for an empty string here\n2:8 the variable `NO2` is not set; it stands for an empty string here",
        ),
        (
            "A=\"\\n\\\"ü $NO\"\n",
            "A=\\n\"ü ",
            "1:10 the variable `NO` is not set; it stands for an empty string here",
        ),
        ("A=$B\nB=1\n", "A=;B=1", "1:3 the variable `B` is not set; it stands for an empty string here"),
    ]);
}

#[test]
fn statements_may_follow_a_closing_quote() {
    says(&[
        ("A='x' B=y\n", "A=x;B=y", "1:7 this is read as another variable, `B`"),
        ("A='x'SH\n", "A=x;SH=shell", "1:6 this is read as another variable, `SH`"),
        ("A='it's'\nB=1\n", "A=it;B=1", "1:8 `'` cannot be in the name of a variable"),
        ("A=\"x\nB=\"y\"\nC=1", "A=x\\nB=;C=1", "2:5 `\"` cannot be in the name of a variable"),
        ("A=\"x\" \"y\"\n", "A=x", "1:7 `\"` cannot be in the name of a variable"),
    ]);
}

#[test]
fn every_error_of_a_file_is_reported_at_its_place() {
    // Docker Compose takes tabs inside names, and no name at all.
    says(&[(
        "A!=1\nB C=2\nC\tD=3\n=4\nexport = 5\nsome words\nG=${!}\nH=\"ü\\n${\"\nI=${NO?must}\n\u{2003}J\u{2003}=1\nK='x\nL=1\n",
        "G=${!};H=ü\\n${;I=;L=1",
        "1:2 `!` cannot be in the name of a variable
2:1 the name of a variable cannot have a space in it
3:1 the name of a variable cannot have a space in it
4:1 a variable's name is missing here: the line has no effect
5:8 a variable's name is missing here: the line has no effect
6:1 `=` is missing behind `some`, or else a `#` before this line
7:3 this is not a variable expression
8:7 this `${` has no closing `}`
9:3 the variable `NO` is required and has no value: must
10:3 `\\u{2003}` cannot be in the name of a variable
11:3 this ' is never closed",
    )]);
}

#[test]
fn variables_know_where_they_are_defined() {
    let outcome = Outcome::of("\u{feff}A=1 # c\nexport B = \"ü\n$SH\" # c\nSH\nC=\nD='x' \nA=  2  \n");
    for (name, written) in [("A", "2"), ("B", "\"ü\n$SH\""), ("SH", "SH"), ("C", ""), ("D", "'x'")] {
        assert_eq!(outcome.written(name), written);
    }
    let start = outcome.variables["C"].span.unwrap().start;
    assert_eq!(outcome.report.sources.get(0).unwrap().position(start), (5, 3));
    assert_eq!(Outcome::raw("\u{feff}# c\r\n A='x' \r\n").written("A"), "'x' ");
}

#[test]
fn variables_cannot_grow_without_end() {
    let mut text = "V0=xxxxxxxx\n".to_owned();
    for n in 1..60 {
        let _ = writeln!(text, "V{n}=$V{}$V{}", n - 1, n - 1);
    }
    let outcome = Outcome::of(&text);
    let size: usize = outcome.variables.values().map(|variable| variable.value.len()).sum();
    assert!(size <= ROOM + 8, "{size}");
    assert_eq!(outcome.report.found.len(), 1);
}

#[test]
fn raw_files_keep_what_stands_behind_the_equals_sign() {
    for (text, expected) in [
        ("A=\"$x\" # y\nB=$$\\n'z' \n", "A=\"$x\" # y;B=$$\\\\n'z' "),
        ("\u{feff}A=1\r\n  # c\r\n\r\n\tB= 2\r\nC=x=y\r\n", "A=1;B= 2;C=x=y"),
        ("SH\nNONE\nA=1\nA=2\nB=", "A=2;B=;SH=shell"),
        ("!x=1\nA:B=2\n\u{e4}=3\n", "!x=1;A:B=2;\u{e4}=3"),
    ] {
        let outcome = Outcome::raw(text);
        assert_eq!((outcome.shown().as_str(), outcome.said().as_str()), (expected, ""), "{text:?}");
    }
}

#[test]
fn raw_files_have_their_errors_at_their_places() {
    let outcome = Outcome::raw("\u{feff}=1\nB C=2\r\n  export D=3\nE =4\nSH \nA: 1\nF=5\n");
    assert_eq!(outcome.shown(), "F=5");
    let places: Vec<_> =
        outcome.said().lines().map(|line| line.split(' ').next().unwrap().to_owned()).collect();
    assert_eq!(places, ["1:2", "2:1", "3:3", "4:1", "5:1", "6:1"]);
}

#[test]
fn no_input_panics_or_is_misplaced() {
    let pieces = [
        "A", "=", "\n", " ", "'", "\"", "\\", "$", "{", "}", "${U:-", "$SH", "#", "export ", ":", "\r\n",
        "ü", "🦀", "\t", "\u{a0}", "\u{2003}", "\\0", "12", "\u{feff}", "\u{0}", "?", "\nB=", "\\n",
    ];
    let mut seed = 7_u64;
    let mut random = |below: usize| {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (seed >> 33) as usize % below
    };
    for _ in 0..4_000 {
        let text: String = (0..random(20)).map(|_| pieces[random(pieces.len())]).collect();
        for parse in [Outcome::of, Outcome::raw] {
            let outcome = parse(&text);
            for variable in outcome.variables.values() {
                let span = variable.span.unwrap();
                assert!(text.get(span.start..span.end).is_some(), "{text:?} {span:?}");
            }
            for found in &outcome.report.found {
                assert!(found.place.is_some(), "{text:?}");
                assert!(!found.render(false).is_empty());
            }
        }
    }
}

#[test]
fn the_way_of_a_value_that_is_made_of_others_is_bounded() {
    let lines = (1..5_000).fold("V0=1\n".to_owned(), |mut text, index| {
        let _ = writeln!(text, "V{index}=${{V{}}}${{V0}}", index - 1);
        text
    });
    let outcome = Outcome::of(&lines);
    let steps = |name: &str| outcome.report.sources.steps(outcome.variables[name].span.unwrap().way);
    assert_eq!(steps("V0").len(), 0);
    assert_eq!(steps("V1").len(), 1);
    assert_eq!(steps("V4999").len(), STEPS);
}
