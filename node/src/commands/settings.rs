//! `dunlin folder show` and `dunlin folder set`.

use dunlin_engine::settings::{FolderSetting, How, Origin, SettingChange, SettingValue};

use crate::cli::{FolderArg, FolderSet};
use crate::commands::folder::{find, told};
use crate::context::Context;
use crate::failure::{Exit, Failure};
use crate::output::{Cell, head};

pub(crate) async fn show(context: &Context, folder: &FolderArg) -> Result<Exit, Failure> {
    let (client, name) = find(context, folder).await?;
    let settings = client.settings(&name).await?;
    match context.output.json {
        true => context.output.document(&settings)?,
        false => context.output.table(&rows(&settings))?,
    }
    Ok(Exit::Done)
}

/// A line a value, so that a list shows one pattern a line.
fn rows(settings: &[FolderSetting]) -> Vec<Vec<Cell>> {
    let mut rows = vec![head(&["SETTING", "VALUE", "FROM"])];
    for setting in settings {
        let from = match setting.from {
            Origin::Default => "default",
            Origin::Shared => "shared",
            Origin::Local => "this device",
        };
        let values = match &setting.value {
            SettingValue::One(value) => value.as_slice(),
            SettingValue::Many(values) => values.as_slice(),
        };
        let first = values.first().map_or("-", String::as_str);
        rows.push(vec![Cell::plain(&setting.key), Cell::plain(first), Cell::plain(from)]);
        for value in values.iter().skip(1) {
            rows.push(vec![Cell::plain(""), Cell::plain(value), Cell::plain("")]);
        }
    }
    rows
}

pub(crate) async fn set(context: &Context, set: FolderSet) -> Result<Exit, Failure> {
    let (client, name) = find(context, &set.folder).await?;
    let how = match (set.add, set.remove) {
        (true, _) => How::Add,
        (_, true) => How::Remove,
        _ => How::Set,
    };
    let FolderSet { key, value, local, .. } = set;
    let note = match how {
        How::Set if value.is_empty() => format!("{name}: {key} is as usual again"),
        How::Set => format!("{name}: {key} is {value}"),
        How::Add => format!("{name}: {key} has {value}"),
        How::Remove => format!("{name}: {key} is without {value}"),
    };
    let done = client.set(&name, &key, &SettingChange { value, local, how }).await;
    told(context, done, "set", &note)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_shows_one_value_a_line() {
        let setting = |key: &str, value, from| FolderSetting { key: key.to_owned(), value, from };
        let patterns = vec!["*.tmp".to_owned(), "cache/".to_owned()];
        let table = crate::output::table(
            &rows(&[
                setting("label", SettingValue::One(None), Origin::Default),
                setting("ignore", SettingValue::Many(patterns), Origin::Shared),
            ]),
            false,
        );
        let lines: Vec<Vec<&str>> =
            table.lines().map(|line| line.split_whitespace().collect()).collect();
        assert_eq!(
            lines,
            [
                vec!["SETTING", "VALUE", "FROM"],
                vec!["label", "-", "default"],
                vec!["ignore", "*.tmp", "shared"],
                vec!["cache/"],
            ]
        );
    }
}
