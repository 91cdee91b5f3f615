use std::collections::BTreeMap;

use serde::Serialize;
use serde_json::{Value as Json, json};

use super::super::format::{Format, Inspection, Listed};

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Line {
    name: String,
    exit_code: i32,
    ports: Vec<Json>,
    labels: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    address: Option<String>,
    #[serde(skip)]
    labelled: BTreeMap<String, String>,
}

impl Listed for Line {
    const FIELDS: &'static [(&'static str, &'static str)] = &[
        ("Name", "NAME"),
        ("ExitCode", "EXIT CODE"),
        ("Ports", "PORTS"),
        ("Labels", "LABELS"),
        ("Address", "ADDRESS"),
    ];

    fn labels(&self) -> Option<&BTreeMap<String, String>> {
        Some(&self.labelled)
    }
}

fn line(name: &str, exit_code: i32) -> Line {
    Line {
        name: name.to_owned(),
        exit_code,
        ports: vec![json!({ "Target": 80, "Url": "" }), json!({ "Target": 443, "Url": "::1" })],
        labels: "a.b=1,c-d=<&>".to_owned(),
        address: None,
        labelled: [("a.b", "1"), ("c-d", "<&>")]
            .map(|(key, value)| (key.to_owned(), value.to_owned()))
            .into(),
    }
}

fn listed(format: &str, lines: &[Line]) -> Result<String, String> {
    let format = Format::parse(format).map_err(|error| error.to_string())?;
    format.render(lines, |_| "a table\n".to_owned()).map_err(|error| error.to_string())
}

/// What a template makes of one line.
fn one(format: &str) -> Result<String, String> {
    listed(format, &[line("web", 3)])
}

#[test]
fn formats_are_told_apart() {
    let lines = [line("web", 0), line("db", 137)];
    assert_eq!(listed("table", &lines).unwrap(), "a table\n");
    assert_eq!(listed("", &lines).unwrap(), "a table\n");
    assert_eq!(listed("{{.Name}}", &lines).unwrap(), "web\ndb\n");
    assert_eq!(listed("plain", &lines).unwrap(), "plain\nplain\n");
    assert_eq!(listed("json", &lines).unwrap(), listed("{{json .}}", &lines).unwrap());
    let columns = "NAME      EXIT CODE\nweb       0\ndb        137\n";
    assert_eq!(listed(r"table {{.Name}}\t{{.ExitCode}}", &lines).unwrap(), columns);
    assert_eq!(listed(r"table {{.Name}}\t{{.ExitCode}}", &[]).unwrap(), "NAME      EXIT CODE\n");
    assert_eq!(listed("{{.Name}}", &[]).unwrap(), "");
}

#[test]
fn a_backslash_with_t_or_n_is_a_tab_or_an_end_of_a_line() {
    assert_eq!(one(r"  {{.Name}}\t{{.ExitCode}}\n-  ").unwrap(), "web\t3\n-\n");
    assert_eq!(one(r#"{{printf "%s\t\n\"\n" .Name}}\t"#).unwrap(), "web\t\n\"\n\t\n");
    // What trims, trims these too; in raw strings Docker replaces them.
    assert_eq!(one(r"{{.Name -}}\n\t{{.ExitCode}}").unwrap(), "web3\n");
    assert_eq!(one(r#"{{join (split .Labels ",") `\n`}}"#).unwrap(), "a.b=1\nc-d=<&>\n");
    let inspected = Inspection::parse(r"{{.}}\t").unwrap().render(&["x"], "null").unwrap();
    assert_eq!(inspected.0, "x\\t\n");
}

#[test]
fn functions_are_dockers() {
    for (template, shown) in [
        (
            "{{upper .Name}} {{lower \"ÄB\"}} {{title \"one two-three it's _x 1a\"}}",
            "WEB äb One Two-Three It'S _x 1a",
        ),
        ("{{pad .Name 1 2}}|{{pad \"\" 1 2}}|", " web  ||"),
        ("{{truncate .Name 2}} {{truncate .Name 9}} {{truncate \"aé\" 2}}", "we web a"),
        (
            "{{json .Labels}} {{json .ExitCode}} {{json .Ports}}",
            r#""a.b=1,c-d=<&>" 3 [{"Target":80,"Url":""},{"Target":443,"Url":"::1"}]"#,
        ),
        ("{{.Ports}} {{index .Ports 0}}", "[{80 } {443 ::1}] {80 }"),
        ("{{split \"a,b,\" \",\"}} {{len (split \"\" \",\")}} {{split \"äb\" \"\"}}", "[a b ] 1 [ä b]"),
        ("{{join (split .Labels \",\") \" + \"}} {{join nil \",\"}}", "a.b=1 + c-d=<&> "),
        ("{{.Label \"a.b\"}} {{.Label \"none\"}}{{\"c-d\" | .Label | printf \"%q\"}}", "1 \"<&>\""),
        ("{{range .Ports}}{{.Target}}:{{$.Name}}:{{$.Label \"a.b\"}} {{end}}", "80:web:1 443:web:1 "),
        ("{{(index .Ports 1).Target}} {{with index .Ports 0}}{{.Target}}{{end}}", "443 80"),
        ("{{$all := .Ports}}{{$first := index $all 0}}{{$first.Target}}", "80"),
        ("{{if and (eq .ExitCode 3) (not .Address)}}yes{{else if .Name}}other{{else}}no{{end}}", "yes"),
        ("{{range $i, $port := .Ports}}{{if $i}},{{end}}{{$port.Target}}{{end}}", "80,443"),
        (
            "{{define \"x\"}}<{{.}}>{{end}}{{template \"x\" .Name}}{{template \"x\"}}{{/* none */}}",
            "<web><<no value>>",
        ),
        (
            "{{1.50}} {{100000.5}} {{1000000.0}} {{1234567.25}} {{1e21}} {{0.0001}} {{3.0e-5}}",
            "1.5 100000.5 1e+06 1.23456725e+06 1e+21 0.0001 3e-05",
        ),
        ("{{printf \"%-5s|%5.1f|%03d\" .Name 2.55 .ExitCode}}{{println}}", "web  |  2.5|003\n"),
        (
            "[{{.Address}}] {{or .Address .Name}} {{html .Labels}} {{slice .Name 1}}",
            "[] web a.b=1,c-d=&lt;&amp;&gt; eb",
        ),
    ] {
        assert_eq!(one(template), Ok(format!("{shown}\n")), "{template}");
    }
}

#[test]
fn headers_stand_for_values() {
    let lines = [line("web", 0)];
    for (template, header) in [
        ("table {{upper .Name}}", "NAME"),
        (r#"table {{.Label "com.example.so-and_so"}}"#, "so and so"),
        (r#"table {{join (split .Labels ",") "+"}}"#, "LABELS"),
        ("table {{json .Ports}}", "PORTS"),
        ("table {{range .Ports}}{{.Target}} {{end}}", ""),
        (r#"table {{if eq .Name "x"}}{{else}}{{truncate .Name 2}}{{end}}"#, "NAME"),
        ("table{{.Name}}", "NAME"),
    ] {
        assert_eq!(listed(template, &lines).unwrap().lines().next(), Some(header), "{template}");
    }
}

#[test]
fn what_is_wrong_is_told_with_its_place() {
    let fields = "Address, ExitCode, Label, Labels, Name, Ports";
    for (template, place, reason) in [
        ("{{.Nmae}}", 3, format!("there is no field `Nmae`; there are {fields}")),
        (r"table {{.Name}}\t{{.ID}}", 20, format!("there is no field `ID`; there are {fields}")),
        ("{{if .Name}}{{len .Foo}}{{end}}", 19, format!("there is no field `Foo`; there are {fields}")),
        (
            "ä {{range .Ports}}{{.Url}}{{.Port}}{{end}}",
            29,
            "there is no field `Port`; there are Target, Url".to_owned(),
        ),
        ("{{.Name.Foo}}", 3, "there is no field `Foo` in a string".to_owned()),
        ("{{.Name \"x\"}}", 3, "`.Name` is no function, and takes no arguments".to_owned()),
        ("{{.Label}}", 3, "`.Label` wants a name: `.Label \"NAME\"`".to_owned()),
        ("{{.Label 1}}", 3, "`.Label` wants one name: `.Label \"NAME\"`".to_owned()),
        (r"\t{{.Name", 10, "unclosed action".to_owned()),
        ("{{if .Name}}x", 14, "an `if`, `range`, `with`, `define` or `block` has no `{{end}}`".to_owned()),
        ("{{.Name}} {{upper .ExitCode}}", 13, "`upper` wants a string, not a int".to_owned()),
        ("{{pad .Name -1 0}}", 3, "`pad` wants numbers from 0 to 65535, not -1".to_owned()),
        ("{{truncate .Name -1}}", 3, "`truncate` wants a number from 0 on, not -1".to_owned()),
        ("x{{index .Ports 7}}", 4, "index out of range: 7".to_owned()),
        ("{{.Name}} {{break}}", 13, "unexpected break outside of range".to_owned()),
        ("{{$x}}", 3, "undefined variable: $x".to_owned()),
    ] {
        assert_eq!(one(template), Err(format!("--format '{template}', character {place}: {reason}")));
    }
    assert!(one("{{if 1}}{{with 1}}{{range .Ports}}").unwrap_err().ends_with("has no `{{end}}`"));
    for template in ["{{end}}", "{{.Name}}{{end}} x", "{{else}}", "{{if .Name}}{{end}}{{end}}x"] {
        let reason = "an `{{end}}` or `{{else}}` has nothing that it belongs to";
        assert_eq!(one(template), Err(format!("--format '{template}': {reason}")));
    }
    let unknown = one("{{if false}}{{uper .Name}}{{end}}").unwrap_err();
    assert!(unknown.contains("character 15: there is no function `uper`; there are and, call,"), "{unknown}");
    assert!(unknown.ends_with("truncate, upper, urlquery") && !unknown.contains('\0'), "{unknown}");
}

#[test]
fn nothing_is_shown_of_what_fails_further_on() {
    let lines = [line("web", 0), line("db", 1)];
    let shown = listed("{{.Name}}{{if .ExitCode}}{{.None}}{{end}}", &lines);
    assert!(shown.unwrap_err().contains("there is no field `None`"));
}

#[test]
fn hostile_templates_end() {
    let deep = |begin: &str, end: &str, count: usize| begin.repeat(count) + "x" + &end.repeat(count);
    for (template, reason) in [
        (
            format!("{{{{if .Address}}}}{}{{{{end}}}}", "{{else if .Address}}".repeat(9000)),
            "more than 100 `else`",
        ),
        (deep("{{if 1}}", "{{end}}", 9000), "nesting depth"),
        (format!("{{{{{}}}}}", deep("(", ")", 9000)), "nesting depth"),
        ("{{define \"x\"}}{{template \"x\"}}{{end}}{{template \"x\"}}".to_owned(), "recursion limit"),
        (deep("{{range 9999999}}", "{{end}}", 5), "`range` has more than 1000000 turns"),
        ("{{range 999999}}{{pad \"x\" 65000 0}}{{end}}".to_owned(), "a line would have more than"),
        (
            "{{$x := .Name}}{{range 99}}{{$x = print $x $x}}{{end}}".to_owned(),
            "a string has more than 1048576",
        ),
        (
            "{{define \"x\"}}{{template \"x\" (print . .)}}{{end}}{{template \"x\" \"xx\"}}".to_owned(),
            "a string has more than",
        ),
        ("{{pad .Name 9999999999999 0}}".to_owned(), "`pad` wants numbers"),
    ] {
        let told = one(&template).unwrap_err();
        assert!(told.contains(reason) && told.chars().count() < 300, "{told}");
    }
    let most = format!("{{{{if .Address}}}}{}{{{{end}}}}", "{{else if .Address}}".repeat(100));
    assert_eq!(one(&most), Ok("\n".to_owned()));
    assert!(one(&deep("{{if 1}}", "{{end}}", 95)).is_ok());
    assert!(one(&format!("{{{{{}}}}}", "(".repeat(95) + ".Name" + &")".repeat(95))).is_ok());
    // Whatever is cut off, and whatever stands where it does not belong.
    let whole = r#"table {{- range $i, $e := .Ports -}}\t{{if $i}}"a\n"{{else}}{{(index $.Ports 0).Target | printf `%d`}}{{end}}{{end}}"#;
    for cut in (0..=whole.len()).filter(|cut| whole.is_char_boundary(*cut)) {
        for odd in ["", "{{", "}}", "\"", "\\", "|", "$", ".", "(", "ß", "\0"] {
            let _ = one(&format!("{}{odd}{}", &whole[..cut], &whole[cut..]));
            let _ = one(&format!("{}{odd}", &whole[..cut]));
        }
    }
}

#[test]
fn documents_have_all_of_dockers_fields() {
    let example = r#"{
        "Name": "", "Id": "", "Config": { "User": "", "Env": [] }, "Labels": {}, "Extra": null, "Options": {},
        "Containers": { "*": { "Name": "", "IPv4Address": "" } }
    }"#;
    let document = json!({
        "Name": "one", "Id": "abc", "Config": { "Env": ["A=1"] }, "Labels": { "a": "1" }, "Options": null,
        "Containers": { "x": { "Name": "web" } },
    });
    let shown = |template: &str| -> Result<String, String> {
        let format = Inspection::parse(template).map_err(|error| error.to_string())?;
        let (text, failures) = format.render(&[&document], example).map_err(|error| error.to_string())?;
        failures.first().map_or(Ok(text), |failure| Err(failure.to_string()))
    };
    for (template, text) in [
        ("{{.ID}} {{.Id}} {{.Name}}", "abc abc one"),
        ("[{{.Config.User}}] {{.Config.Env}} {{json .Config}}", r#"[] [A=1] {"Env":["A=1"]}"#),
        ("{{.Labels.a}} {{.Labels.b}} {{index .Labels \"b\"}}|{{if .Labels.b}}x{{end}}", "1 <no value> |"),
        (
            "{{.Options}} {{index .Options \"b\"}}|{{.Extra}} {{json .Labels}}",
            r#"map[] |<no value> {"a":"1"}"#,
        ),
        ("{{range $id, $one := .Containers}}{{$id}}={{.Name}}[{{.IPv4Address}}]{{end}}", "x=web[]"),
        ("{{(index .Containers \"x\").Name}} {{.Containers}} {{.Config}}", "web map[x:{web }] { [A=1]}"),
    ] {
        assert_eq!(shown(template), Ok(format!("{text}\n")), "{template}");
    }
    assert_eq!(shown("{{json .}}"), Ok(document.to_string() + "\n"));
    let wrong = shown("{{.Config.Usr}}").unwrap_err();
    assert!(wrong.ends_with("character 3: there is no field `Usr`; there are Env, User"), "{wrong}");
    let wrong = shown("{{range .Containers}}{{.Nme}}{{end}}").unwrap_err();
    assert!(wrong.ends_with("there is no field `Nme`; there are IPv4Address, Name"), "{wrong}");
    assert_eq!(shown("json"), Ok(format!("[{document}]\n")));
    let none = Inspection::parse("{{.Name}}").unwrap().render::<Json>(&[], example).unwrap();
    assert_eq!(none.0, "\n");
}
