//! Lines as people write them, and what each does to images.

use super::*;

fn pruned(line: &str) -> Prune {
    match &acts(line)[..] {
        [Act::Prune(prune)] => prune.clone(),
        other => panic!("{line}: {other:?}"),
    }
}

#[test]
fn prunes_are_read_with_what_they_spare() {
    let all = Prune { system: true, all: true, ..Prune::default() };
    for line in [
        "docker system prune -af",
        "/usr/bin/docker system prune --all --force >/dev/null 2>&1",
        "sudo docker -H unix:///run/docker.sock --debug system prune -f -a --volumes",
        "cd / && docker system prune -fa || true",
        "bash -c 'docker system prune -af'",
        "test -x /usr/bin/docker && nice -n 19 docker system prune -a -f",
        "$DOCKER system prune -af",
        "\"${DOCKER_BIN}\" system prune -af",
        "bash -lc \"docker system prune -af\"",
        "flock -n /run/lock/docker docker system prune -af",
    ] {
        assert_eq!(pruned(line), all, "{line}");
    }
    assert_eq!(pruned("docker image prune -f"), Prune::default());
    assert_eq!(pruned("docker image prune -f --filter dangling=true"), Prune::default());
    assert!(pruned("docker image prune -f --filter dangling=false").all);
    let until = pruned("docker image prune -a --filter \"until=240h\" --filter=label!=keep");
    assert_eq!((until.until.as_deref(), until.filter.as_deref()), (Some("240h"), Some("label!=keep")));
}

#[test]
fn removals_collectors_and_podman_are_told_apart() {
    let remove = |names: &[&str], dangling| {
        vec![Act::Remove { names: names.iter().map(|name| (*name).to_owned()).collect(), dangling }]
    };
    assert_eq!(acts("docker rmi $(docker images -q)"), remove(&[], false));
    assert_eq!(acts("docker images -q -f dangling=true | xargs -r docker rmi -f"), remove(&[], true));
    assert_eq!(acts("docker image rm acme/app:old"), remove(&["acme/app:old"], false));
    assert_eq!(acts("/usr/local/sbin/docker-gc"), [Act::Collector("docker-gc")]);
    assert_eq!(acts("sh -c /usr/sbin/docker-gc"), [Act::Collector("docker-gc")]);
    assert_eq!(acts("FORCE=1 docker-cleanup.sh"), [Act::Collector("docker-cleanup")]);
    assert_eq!(acts("podman system prune -af"), [Act::Podman]);
    assert_eq!(acts("docker run --rm -v /x:/x spotify/docker-gc:latest"), [Act::Collector("docker-gc")]);
    assert_eq!(acts("docker run -d containrrr/watchtower --cleanup"), [Act::Updater("watchtower")]);
    assert_eq!(acts("bin/kamal prune all"), [Act::Kamal]);
}

#[test]
fn of_a_container_that_is_started_only_its_image_counts() {
    for line in [
        "/usr/bin/docker run --network coolify --rm ghcr.io/acme/app:1",
        "docker run -v coolify:/x -v watchtower:/data ghcr.io/acme/app:1",
        "docker run --name docuum -dp 80:80 ghcr.io/acme/app:1",
        "docker run -it --rm ghcr.io/acme/app:1 watchtower",
        "docker run --label=docuum -e watchtower ghcr.io/acme/app:1",
        // these prune nothing themselves, and stopping them stops what they are for
        "docker run -d --name coolify ghcr.io/coollabsio/coolify:4",
        "docker run -d basecamp/kamal-proxy:v0.8",
    ] {
        assert_eq!(acts(line), [], "{line}");
    }
    for line in [
        "docker run -it --rm -v /run/docker.sock:/run/docker.sock --name x stephanmisc/docuum:1 --threshold 10GB",
        "docker container run -d --restart always --read-only -e A=b stephanmisc/docuum",
    ] {
        assert_eq!(acts(line), [Act::Collector("docuum")], "{line}");
    }
}

#[test]
fn another_hosts_engine_is_left_to_that_host() {
    for line in [
        "DOCKER_HOST=ssh://web2 docker system prune -af",
        "sudo DOCKER_HOST=tcp://10.0.0.5:2375 docker system prune -af",
        "env DOCKER_HOST=ssh://web2 docker rmi acme/app:1",
        "DOCKER_CONTEXT=prod docker image prune -af",
        "docker --context prod system prune -af",
        "docker --context=prod system prune -af",
        "docker -c prod image prune -af",
        "docker -H tcp://10.0.0.5:2375 system prune -af",
        "docker -Hssh://web2 system prune -af",
        "docker --host=ssh://web2 run docker system prune -af",
        "DOCKER_HOST=ssh://web2 docker-gc",
    ] {
        assert_eq!(acts(line), [], "{line}");
    }
    for line in [
        "docker -H unix:///run/docker.sock system prune -af",
        "docker --host fd:// system prune -af",
        "docker --context default system prune -af",
        "DOCKER_HOST=ssh://web2 docker -H unix:///run/docker.sock system prune -af",
        "docker -l debug --config /root/.docker system prune -af",
    ] {
        assert!(pruned(line).system, "{line}");
    }
}

#[test]
fn a_program_that_is_given_the_command_may_do_more() {
    for (line, alone) in [
        ("docker image prune -f", true),
        ("/usr/bin/sudo -u root timeout 10m docker image prune -f", true),
        ("flock -n /run/x -c 'docker image prune -f'", true),
        ("docker images -q | xargs -r -n 1 docker rmi", true),
        ("docker run spotify/docker-gc:1", true),
        ("/usr/local/bin/disk-monitor --run \"docker system prune -af\"", false),
        ("backup.sh --after 'docker image prune -f'", false),
        ("docker exec dind docker image prune -f", false),
    ] {
        let steps: Vec<Step> =
            commands(line).iter().filter_map(|command| step(&command.words, line, &Aim::default())).collect();
        assert!(steps.len() == 1 && steps[0].alone == alone, "{line}: {steps:?}");
    }
}

#[test]
fn only_the_command_that_acts_is_shown() {
    let shown = |line: &str| -> Vec<String> {
        let all = commands(line);
        let steps = all.iter().filter_map(|command| step(&command.words, line, &Aim::default()));
        steps.map(|step| step.command).collect()
    };
    for (line, wanted) in [
        ("docker login -u ci -p ghp_x && docker system prune -af", "docker system prune -af"),
        ("TOKEN=x sudo /usr/bin/docker image prune -f >/dev/null 2>&1", "/usr/bin/docker image prune -f"),
        ("docker run -e TOKEN=x spotify/docker-gc:1 --key x", "docker run … spotify/docker-gc:1"),
        ("docker-gc --token x", "docker-gc"),
        ("curl https://x@example.net | docker rmi $(docker images -q)", "docker rmi"),
    ] {
        assert_eq!(shown(line), [wanted], "{line}");
    }
}

#[test]
fn what_leaves_images_alone_is_nothing() {
    for line in [
        "# docker system prune -af",
        "echo docker system prune -af",
        "docker ps",
        "docker container prune -f",
        "docker builder prune -af",
        "docker volume prune -f",
        "docker compose pull",
        "apt-get autoremove",
        "rm -rf /var/cache/docker-gc",
        "docker",
        "docker image",
        "",
        // on another host
        "ssh web2 docker system prune -af",
        "ssh web2 'cd /; docker system prune -af' && true",
        "docker -H ssh://web2 system prune -af",
    ] {
        assert_eq!(acts(line), [], "{line}");
    }
}

#[test]
fn a_container_is_known_by_its_image_or_name() {
    assert_eq!(program("ghcr.io/basecamp/kamal-proxy:v0.8"), Some(Act::Kamal));
    assert!(matches!(program("coolify-sentinel"), Some(Act::Prune(prune)) if prune.all));
    assert_eq!(program("docker.io/library/nginx:1"), None);
}
