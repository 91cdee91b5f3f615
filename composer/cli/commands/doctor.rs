//! `compose doctor`: what this host offers, and what to do about what is missing.

use std::io;
use std::process::{Command, Stdio};

use composer_supervisor::host::doctor::{self, Finding, Trial, Verdict};

use super::context::Context;
use super::{Error, Result, doing};
use crate::options::{Doctor, TableFormat};
use crate::render::lines::{pad, paint};

/// Looks at the host. The status is 1 where `up` could not work.
pub fn run(context: &mut Context, verb: &Doctor) -> Result {
    if let Some(trial) = verb.attempt {
        let lines = doctor::attempt(trial.into());
        return lines.iter().try_for_each(|line| context.out.line(line)).map(|()| 0).map_err(Error::Output);
    }
    let findings = doctor::examine(&try_out);
    match verb.format {
        TableFormat::Json => {
            for finding in &findings {
                let line = serde_json::to_string(finding).map_err(doing("write JSON"))?;
                context.out.line(&line).map_err(Error::Output)?;
            }
        }
        TableFormat::Table => show(context, &findings)?,
    }
    Ok(u8::from(findings.iter().any(|finding| finding.verdict == Verdict::Missing)))
}

/// In a process that nothing else depends on.
fn try_out(trial: Trial) -> io::Result<String> {
    let mut command = Command::new("/proc/self/exe");
    command.args(["doctor", "--try", trial.name()]).stdin(Stdio::null()).stderr(Stdio::null());
    Ok(String::from_utf8_lossy(&command.output()?.stdout).into_owned())
}

fn show(context: &mut Context, findings: &[Finding]) -> Result<()> {
    let mut topics: Vec<&str> = Vec::new();
    for finding in findings {
        if !topics.contains(&finding.topic) {
            topics.push(finding.topic);
        }
    }
    let color = context.out.color;
    let names = findings.iter().map(|finding| finding.name.chars().count()).max().unwrap_or_default();
    for topic in topics {
        context.out.line(&paint(topic, "1", color)).map_err(Error::Output)?;
        for finding in findings.iter().filter(|finding| finding.topic == topic) {
            let (word, tone) = match finding.verdict {
                Verdict::Ok => ("ok", "32"),
                Verdict::Warning => ("warning", "33"),
                Verdict::Missing => ("missing", "31"),
            };
            let (word, name) = (paint(&pad(word, 7), tone, color), pad(&finding.name, names));
            context.out.line(&format!("  {word}  {name}  {}", finding.found)).map_err(Error::Output)?;
            if let Some(advice) = &finding.advice {
                let indent = " ".repeat(2 + 7 + 2 + names + 2);
                context.out.line(&format!("{indent}-> {advice}")).map_err(Error::Output)?;
            }
        }
    }
    let count = |verdict| findings.iter().filter(|finding| finding.verdict == verdict).count();
    let summary = match (count(Verdict::Missing), count(Verdict::Warning)) {
        (0, 0) => "everything is there".to_owned(),
        (0, warnings) => format!("`compose up` works here; {warnings} warnings"),
        (missing, _) => format!("`compose up` cannot work here: {missing} things are missing"),
    };
    context.out.line(&format!("\n{summary}")).map_err(Error::Output)
}
