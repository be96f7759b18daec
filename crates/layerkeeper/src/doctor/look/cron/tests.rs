//! A tree with cron in it, as Debian has it.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use super::*;
use crate::doctor::look::Root;

fn tree(all: &[(&str, u32, &str)]) -> (tempfile::TempDir, Root) {
    let dir = tempfile::tempdir().unwrap();
    let root = Root::new(dir.path());
    for (path, mode, text) in all {
        let file = root.at(path);
        fs::create_dir_all(file.parent().unwrap()).unwrap();
        fs::write(&file, text).unwrap();
        fs::set_permissions(&file, fs::Permissions::from_mode(*mode)).unwrap();
    }
    (dir, root)
}

/// Each cleaner as one line.
fn told(root: &Root) -> Vec<String> {
    let found = look(&mut Files::new(root));
    let line = |cleaner: Cleaner| {
        let through = cleaner.through.unwrap_or_default();
        format!("{} {through} {} {}", cleaner.place, cleaner.command, cleaner.schedule.written)
    };
    found.into_iter().map(line).collect()
}

#[test]
fn every_place_of_cron_is_read_and_scripts_are_followed_once() {
    let prune = "#!/bin/sh\nset -e\ndocker image prune -af >/dev/null\n";
    let (_dir, root) = tree(&[
        ("/etc/crontab", 0o644, "25 6 * * * root cd / && run-parts --report /etc/cron.daily\n7 * * * * root true\n"),
        ("/etc/cron.d/cleanup", 0o644, "# at night\n\n0 3 * * * root docker system prune -af\n"),
        ("/etc/cron.d/call", 0o644, "5 4 * * sun root /usr/local/bin/clean --now\n"),
        ("/usr/local/bin/clean", 0o755, prune),
        ("/etc/cron.d/deep", 0o644, "5 5 * * * root /usr/local/bin/outer\n"),
        ("/usr/local/bin/outer", 0o755, "#!/bin/sh\n/usr/local/bin/clean\n"),
        ("/etc/cron.daily/docker", 0o755, prune),
        ("/etc/cron.weekly/docker", 0o755, prune),
        ("/etc/cron.daily/off", 0o644, prune),
        ("/var/spool/cron/crontabs/ann", 0o600, "@daily docker rmi $(docker images -q)\n"),
    ]);
    assert_eq!(
        told(&root),
        [
            "/etc/cron.d/call:1 /usr/local/bin/clean:3 docker image prune -af 5 4 * * sun",
            "/etc/cron.d/cleanup:3  docker system prune -af 0 3 * * *",
            "/var/spool/cron/crontabs/ann:1  docker rmi @daily",
            "/etc/cron.daily/docker:3  docker image prune -af 25 6 * * *",
            "/etc/cron.weekly/docker:3  docker image prune -af weekly",
        ]
    );
}

#[test]
fn what_cron_does_not_run_is_not_told() {
    let line = "0 3 * * * root docker system prune -af\n";
    let files = [("/etc/cron.d/clean.bak", 0o644, line), ("/etc/cron.d/clean.sh", 0o644, line)];
    let (_dir, root) = tree(&files);
    assert_eq!(told(&root).len(), 1, "other crons take names with a dot");
    let (_dir, root) = tree(&[&files[..], &[("/etc/debian_version", 0o644, "12.5\n")]].concat());
    assert!(told(&root).is_empty(), "Debian's does not");
}

#[test]
fn with_anacron_nobody_knows_the_minute() {
    let script = ("/etc/cron.daily/docker", 0o755, "docker image prune -af\n");
    let crontab = ("/etc/crontab", 0o644, "25 6 * * * root run-parts /etc/cron.daily\n");
    let (_dir, root) = tree(&[script, crontab, ("/usr/sbin/anacron", 0o755, "")]);
    let found = look(&mut Files::new(&root));
    assert_eq!((found[0].schedule.times, found[0].schedule.written.as_str()), (None, "daily"));
}

#[test]
fn binaries_and_huge_files_are_no_scripts() {
    let huge = "docker system prune -af\n".repeat(20_000);
    let (_dir, root) = tree(&[
        ("/etc/cron.d/a", 0o644, "0 3 * * * root /bin/elf; /bin/huge\n"),
        ("/bin/elf", 0o755, "\u{7f}ELF\0docker system prune -af\n"),
        ("/bin/huge", 0o755, &huge),
    ]);
    assert!(told(&root).is_empty());
}

#[test]
fn scripts_are_found_as_the_shell_finds_them_and_their_lines_go_on() {
    let prune = "#!/bin/sh\ndocker image prune \\\n  --all --force\n";
    let (_dir, root) = tree(&[
        ("/etc/cron.d/a", 0o644, "0 3 * * * root cd /opt/app && ./clean.sh --now\n"),
        ("/etc/cron.d/b", 0o644, "0 3 * * * root tidy\n"),
        ("/etc/cron.d/c", 0o644, "0 3 * * * ann sh bin/clean.sh\n"),
        ("/etc/cron.d/d", 0o644, "0 3 * * * root ./nowhere.sh; $HOME/x.sh; cd \"$X\" && ./clean.sh\n"),
        ("/opt/app/clean.sh", 0o755, prune),
        ("/usr/local/bin/tidy", 0o755, prune),
        ("/home/ann/bin/clean.sh", 0o644, prune),
    ]);
    let through = ["/opt/app/clean.sh", "/usr/local/bin/tidy", "/home/ann/bin/clean.sh"];
    let told = told(&root);
    assert_eq!(told.len(), through.len(), "{told:?}");
    for (line, script) in told.iter().zip(through) {
        assert!(line.contains(&format!(" {script}:2 docker image prune --all --force ")), "{line}");
    }
}

#[test]
fn whether_a_line_or_its_script_does_more_is_told() {
    let alone = |line: &str| {
        let (_dir, root) = tree(&[
            ("/etc/cron.d/a", 0o644, &format!("0 3 * * * root {line}\n")),
            (
                "/bin/only",
                0o755,
                "#!/bin/sh\nset -e\nsleep 9\nif docker info >/dev/null; then\n docker image prune -f\nfi\n",
            ),
            ("/bin/more", 0o755, "#!/bin/sh\npg_dump app >/srv/app.sql\ndocker image prune -f\n"),
        ]);
        look(&mut Files::new(&root)).remove(0).alone
    };
    for (line, wanted) in [
        ("docker image prune -f", true),
        ("cd / && sudo docker image prune -f >/dev/null 2>&1 || true", true),
        ("docker images -q | xargs -r docker rmi", true),
        ("/bin/only", true),
        ("/bin/more", false),
        ("backup.sh && docker image prune -f", false),
        ("/bin/only && backup.sh", false),
        ("/usr/bin/flock -n /run/x sh -e /bin/only", true),
        ("backup.sh --after /bin/only", false),
        ("backup.sh --after 'docker image prune -f'", false),
        ("docker image prune -f; cat a.log >> /mnt/archive/a.log", false),
        ("docker image prune -f >> /var/log/prune.log 2>&1", true),
    ] {
        assert_eq!(alone(line), wanted, "{line}");
    }
}

#[test]
fn what_is_led_to_another_hosts_engine_is_not_told() {
    let script =
        "#!/bin/sh\nexport DOCKER_HOST=ssh://web2\ndocker system prune -af\nunset DOCKER_HOST\ndocker image prune -f\n";
    let (_dir, root) = tree(&[
        ("/etc/cron.d/a", 0o644, "DOCKER_HOST=ssh://web2\n0 3 * * * root docker system prune -af\n"),
        ("/etc/cron.d/b", 0o644, "0 3 * * * root export DOCKER_HOST=ssh://web2; docker system prune -af\n"),
        ("/etc/cron.d/c", 0o644, "0 3 * * * root DOCKER_HOST=ssh://web2 /bin/prune; /bin/both\n"),
        ("/bin/prune", 0o755, "docker system prune -af\n"),
        ("/bin/both", 0o755, script),
    ]);
    assert_eq!(told(&root), ["/etc/cron.d/c:1 /bin/both:5 docker image prune -f 0 3 * * *"]);
}

#[test]
fn no_password_is_taken_for_a_file_that_could_not_be_read() {
    // a link to itself cannot be read by anybody
    let line = "0 3 * * * root /bin/call https://ci:word@example.net/x pass/word; /root/loop/x\n";
    let (_dir, root) = tree(&[("/etc/cron.d/a", 0o644, line)]);
    fs::create_dir(root.at("/root")).unwrap();
    for link in ["/root/loop", "/root/https:", "/root/pass"] {
        std::os::unix::fs::symlink(root.at(link), root.at(link)).unwrap();
    }
    let mut files = Files::new(&root);
    look(&mut files);
    assert!(files.unread.len() == 1 && files.unread[0].starts_with("/root/loop/x: "), "{:?}", files.unread);
}
