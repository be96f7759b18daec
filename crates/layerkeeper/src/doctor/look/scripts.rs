//! What a command does to images: by itself, or by the scripts that it calls. Those that these call are not followed.

use super::files::Files;
use crate::doctor::cleaners::act::{Step, step};
use crate::doctor::cleaners::aim::Aim;
use crate::doctor::cleaners::shell::{SHELLS, bare, commands, is_quiet, lines, program_of};

/// Where programs usually are, in the order of a service's PATH.
pub const USUAL: [&str; 6] = ["/usr/local/sbin", "/usr/local/bin", "/usr/sbin", "/usr/bin", "/sbin", "/bin"];
/// What a command or a script does.
#[derive(Debug, Clone, Default)]
pub struct Does {
    /// To images, each with the script (`FILE:LINE`) where it is not written in the command itself.
    pub steps: Vec<(Step, Option<String>)>,
    /// And something that has nothing to do with them.
    pub more: bool,
}

/// Reads a command that begins in a folder, where that is known, with an environment that leads `docker` as `aim` says.
pub fn of_command(files: &mut Files<'_>, command: &str, folder: Option<&str>, aim: &Aim) -> Does {
    let (mut folder, mut aim) = (folder.map(str::to_owned), aim.clone());
    let mut all = Does::default();
    for simple in commands(command) {
        if let Some(step) = step(&simple.words, command, &aim) {
            all.more |= !step.alone;
            all.steps.push((step, None));
            continue;
        }
        let called = bare(&simple.words);
        let before = &simple.words[..simple.words.len() - called.len()];
        if let [cd, to, ..] = called
            && cd == "cd"
        {
            folder = within(folder.as_deref(), to);
            continue;
        }
        aim.after(called);
        let mut given = aim.clone();
        before.iter().for_each(|word| given.set(word));
        let mut acts = false;
        for (script, is_called) in scripts(files, called, folder.as_deref()) {
            let does = of_script(files, &script, &given);
            if !does.steps.is_empty() {
                acts = true;
                // what is given a script may do more than run it
                all.more |= does.more || !is_called;
                all.steps.extend(does.steps);
            }
        }
        all.more |= !acts && !is_quiet(&simple);
    }
    all
}

/// Reads a script.
pub fn of_script(files: &mut Files<'_>, path: &str, aim: &Aim) -> Does {
    let mut aim = aim.clone();
    let mut all = Does::default();
    for (number, line) in lines(&files.text(path).unwrap_or_default()) {
        for simple in commands(&line) {
            match step(&simple.words, &line, &aim) {
                Some(step) => {
                    all.more |= !step.alone;
                    all.steps.push((step, Some(format!("{path}:{number}"))));
                }
                None => all.more |= !is_quiet(&simple),
            }
            aim.after(bare(&simple.words));
        }
    }
    all
}

/// The files that a command may run: all that it names in full, what it runs from the folder, and its program, where PATH
/// leads to. No other word is taken for a file: it may be a password, and what cannot be read is told by name. Each with whether
/// it is what is called, by itself or by a shell.
fn scripts(files: &Files<'_>, words: &[String], folder: Option<&str>) -> Vec<(String, bool)> {
    let mut all = Vec::new();
    for (index, word) in words.iter().enumerate() {
        let by_shell = index > 0 && SHELLS.contains(&program_of(&words[index - 1]));
        let is_run = by_shell || index == 0 && word.contains('/');
        if is_run || word.starts_with(['/', '.']) {
            let is_of_shell = SHELLS.contains(&program_of(&words[0])) && !word.starts_with('-');
            let is_called = index == 0 || is_of_shell && words[1..index].iter().all(|word| word.starts_with('-'));
            all.extend(within(folder, word).map(|file| (file, is_called)));
        } else if index == 0 {
            let mut places = USUAL.iter().map(|folder| format!("{folder}/{word}"));
            all.extend(places.find(|file| files.is_executable(file)).map(|file| (file, true)));
        }
    }
    all
}

/// A path as seen from a folder; none where that cannot be known.
fn within(folder: Option<&str>, path: &str) -> Option<String> {
    if path.starts_with('/') {
        return Some(path.to_owned());
    }
    if path.starts_with(['$', '~', '-']) {
        return None;
    }
    folder.map(|folder| format!("{}/{}", folder.trim_end_matches('/'), path.trim_start_matches("./")))
}
