//! Amazon's profiles: keys and a region from the files that `aws configure` writes, where the environment names none.
//!
//! Source: <https://docs.aws.amazon.com/cli/latest/userguide/cli-configure-files.html>. Keys alone are read. A profile that
//! gets its keys by a role, by single sign-on or from a program is refused, with how to have `aws` do that.

use std::collections::BTreeMap;
use std::env;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use crate::error::{Error, Result};
use crate::location::Location;
use crate::redact::keep_secret;

/// What of a profile is taken, and the variables that say the same, first the one by whose name it is handed on.
const TAKEN: [(&str, &[&str]); 5] = [
    ("aws_access_key_id", &["AWS_ACCESS_KEY_ID"]),
    ("aws_secret_access_key", &["AWS_SECRET_ACCESS_KEY"]),
    ("aws_session_token", &["AWS_SESSION_TOKEN", "AWS_TOKEN"]),
    ("region", &["AWS_REGION", "AWS_DEFAULT_REGION"]),
    ("endpoint_url", &["AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT"]),
];
/// By what else a profile may get its keys.
const OTHERS: [&str; 5] =
    ["role_arn", "sso_session", "sso_start_url", "credential_process", "web_identity_token_file"];
const KEY: &str = "AWS_ACCESS_KEY_ID";

type Profile = BTreeMap<String, String>;

/// What a profile says that no variable does, by the variables' names; nothing where the environment has keys and names no
/// profile.
///
/// The profile is the one that `AWS_PROFILE` names, else `default`. Keys in variables go before those of a profile.
pub(super) fn settings(location: &Location) -> Result<Vec<(&'static str, String)>> {
    let said = |name: &str| env::var(name).ok().filter(|value| !value.is_empty());
    let named = said("AWS_PROFILE").or_else(|| said("AWS_DEFAULT_PROFILE"));
    let has_keys = said(KEY).is_some() || said("AWS_SKIP_SIGNATURE").is_some();
    if named.is_none() && has_keys {
        return Ok(Vec::new());
    }
    let name = named.clone().unwrap_or_else(|| "default".into());
    let wrong = |what: String| Error::Location {
        place: location.to_string(),
        what: format!("Amazon's profile {name:?}: {what}"),
        hint: format!(
            "have `aws` write its keys into the environment: `eval \"$(aws configure export-credentials --profile {name} --format env)\"`"
        ),
    };
    let file = |variable: &str, usual: &str| said(variable).map(PathBuf::from).or_else(|| in_home(usual));
    let read = |path: Option<PathBuf>| path.map_or(Ok(None), |path| text_of(&path));
    let config = read(file("AWS_CONFIG_FILE", ".aws/config"))?.unwrap_or_default();
    let keys = read(file("AWS_SHARED_CREDENTIALS_FILE", ".aws/credentials"))?.unwrap_or_default();
    let Some(profile) = profile_of(&config, &keys, &name) else {
        return if named.is_some() {
            Err(wrong("it is in neither file of ~/.aws".into()))
        } else {
            Ok(Vec::new())
        };
    };
    let other = OTHERS.iter().find(|other| profile.contains_key(**other));
    match (other, &named) {
        (Some(other), Some(_)) if !has_keys => {
            return Err(wrong(format!("it gets its keys by {other}, which is not read here")));
        }
        _ => {}
    }
    // What nobody named goes behind a role of this machine's.
    let has_keys =
        has_keys || other.is_some() || (named.is_none() && said("AWS_WEB_IDENTITY_TOKEN_FILE").is_some());
    let mut settings = Vec::new();
    for (key, variables) in TAKEN {
        // A secret of one pair does not go with the other of another.
        let is_of_keys = key.starts_with("aws_");
        let Some(value) = profile.get(key) else { continue };
        let is_said = variables.iter().any(|variable| said(variable).is_some());
        if !(is_said || is_of_keys && has_keys) {
            if is_of_keys {
                keep_secret(value);
            }
            settings.push((variables[0], value.clone()));
        }
    }
    Ok(settings)
}

fn in_home(path: &str) -> Option<PathBuf> {
    env::var_os("HOME").map(|home| PathBuf::from(home).join(path))
}

/// A file's text; none where it is not there.
fn text_of(path: &Path) -> Result<Option<String>> {
    match fs::read_to_string(path) {
        Ok(text) => Ok(Some(text)),
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {
            Ok(None)
        }
        Err(error) => Err(Error::io("read", path)(error)),
    }
}

/// A profile out of both files: `[profile NAME]` of the one, `[NAME]` of the other, which goes before.
fn profile_of(config: &str, keys: &str, name: &str) -> Option<Profile> {
    let in_config = if name == "default" { "default".into() } else { format!("profile {name}") };
    let mut sections: Vec<Profile> =
        [(config, in_config.as_str()), (config, "profile default"), (keys, name)]
            .into_iter()
            .filter(|(_, section)| *section != "profile default" || name == "default")
            .filter_map(|(text, section)| section_of(text, section))
            .collect();
    let first = sections.pop()?;
    // What was read later goes before.
    Some(sections.into_iter().rev().fold(first, |mut all, section| {
        for (key, value) in section {
            all.entry(key).or_insert(value);
        }
        all
    }))
}

/// The lines `KEY = VALUE` below `[SECTION]`; indented ones belong to the line before and are passed over.
fn section_of(text: &str, section: &str) -> Option<Profile> {
    let mut found: Option<Profile> = None;
    let mut is_in = false;
    for line in text.lines() {
        if line.trim().is_empty() || line.starts_with(['#', ';', ' ', '\t']) {
            continue;
        }
        if let Some(name) = line.trim().strip_prefix('[').and_then(|rest| rest.split(']').next()) {
            let name = name.split_whitespace().collect::<Vec<_>>().join(" ");
            is_in = name.replace(['"', '\''], "") == section;
            if is_in {
                found.get_or_insert_default();
            }
        } else if let (true, Some((key, value)), Some(found)) = (is_in, line.split_once('='), &mut found) {
            found.insert(key.trim().to_lowercase(), value.trim().into());
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_profile_is_what_botocore_takes_it_for() {
        // botocore 1.44: Session(profile=NAME).get_scoped_config() with these two files.
        let config = "# mine\n[default]\nregion = eu-west-1\n\n[profile team]\nregion=us-west-2\naws_access_key_id = of-config\ns3 =\n  endpoint_url = http://nested\nendpoint_url = http://127.0.0.1:9000\n[profile \"with space\"]\nregion = x\n[team]\nregion = not-this\n[profile by-role]\nrole_arn = arn:aws:iam::1:role/r\n";
        let keys = "[default]\naws_access_key_id = D\naws_secret_access_key = d=d#d\n[team]\naws_access_key_id = T\naws_secret_access_key=t\n";
        let shown = |name: &str| {
            let profile = profile_of(config, keys, name)?;
            Some(
                profile
                    .into_iter()
                    .map(|(key, value)| format!("{key}={value}"))
                    .collect::<Vec<_>>()
                    .join(" "),
            )
        };
        assert_eq!(
            shown("default").unwrap(),
            "aws_access_key_id=D aws_secret_access_key=d=d#d region=eu-west-1"
        );
        assert_eq!(
            shown("team").unwrap(),
            "aws_access_key_id=T aws_secret_access_key=t endpoint_url=http://127.0.0.1:9000 region=us-west-2 s3="
        );
        assert_eq!(shown("with space").unwrap(), "region=x");
        assert_eq!(shown("by-role").unwrap(), "role_arn=arn:aws:iam::1:role/r");
        assert_eq!(shown("none"), None);
    }
}
