"""The command line: one function here declares each command, its arguments and its help.

What a command does lives in `<name>_command.py`. It is imported inside the function, so that `anneal --help`
and `anneal validate` do not wait for PyTorch and Ray. It takes plain values, raises AnnealError where a
person has to act, and returns an ExitCode.
"""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from anneal_api.errors import ExitCode
from anneal_api.place import Place
from anneal_cli.console import errors_explained
from anneal_cli.log_part import LogPart

app = typer.Typer(
    name="anneal",
    help="Fine-tune a Hugging Face model, let it pass a gate, and serve it: one manifest for all of it.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


class OutputFormat(StrEnum):
    """How a command prints its result."""

    TEXT = "text"
    JSON = "json"


def main() -> None:
    """Runs the command line. The exit codes are those of `anneal_api.errors.ExitCode`."""
    with errors_explained():
        app()


def _finish(code: ExitCode) -> None:
    if code is not ExitCode.OK:
        raise typer.Exit(code)


def _print_version(wanted: bool) -> None:
    if wanted:
        from importlib import metadata

        typer.echo(f"anneal {metadata.version('anneal')}")
        raise typer.Exit


@app.callback()
def _anneal(
    _version: Annotated[
        bool,
        typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version and exit."),
    ] = False,
) -> None:
    pass


@app.command()
def validate(
    files: Annotated[list[Path], typer.Argument(metavar="FILE...", help="Manifests to check.")],
    on: Annotated[
        Place | None, typer.Option(help="Where the jobs are to run; default: either will do.")
    ] = None,
    output: Annotated[OutputFormat, typer.Option(help="How to print what was found.")] = OutputFormat.TEXT,
) -> None:
    """Check manifests and print every problem at once. Runs nothing."""
    from anneal_cli.validate_command import validate as validate_files

    _finish(validate_files(files, place=on, as_json=output is OutputFormat.JSON))


@app.command()
def crd() -> None:
    """Print the CustomResourceDefinition of the FineTuneJob, for `kubectl apply --server-side -f -`."""
    from anneal_cli.crd_command import crd as crd_text

    typer.echo(crd_text(), nl=False)


_WORK_DIR = Path(".anneal")


def _folder(folder: Path | None) -> Path | None:
    from anneal_cli.run_places import looks_like_uri

    if folder is not None and looks_like_uri(folder):
        raise typer.BadParameter(
            "name a folder by its path alone, without a scheme such as file:// or s3://."
        )
    return folder


@app.command()
def run(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="The manifest of one FineTuneJob.")],
    work_dir: Annotated[
        Path,
        typer.Option(
            callback=_folder,
            help="Folder for what stages keep, and for the store where nothing else is said.",
        ),
    ] = _WORK_DIR,
    store: Annotated[
        Path | None,
        typer.Option(
            callback=_folder, help="Folder of the model store; default: the manifest's, or WORK_DIR/store."
        ),
    ] = None,
    fresh: Annotated[
        bool, typer.Option("--fresh", help="Start over: forget what earlier runs kept.")
    ] = False,
    serve: Annotated[
        bool, typer.Option("--serve/--no-serve", help="Serve what was published until Ctrl-C.")
    ] = True,
    host: Annotated[str, typer.Option(help="Address to serve on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="Port to serve on.", min=1, max=65535)] = 8000,
) -> None:
    """Train, evaluate, compress, gate, publish and serve a job on this machine.

    A run that was stopped or killed goes on where it was; an edited manifest runs only what the edit touches.
    """
    from rich.console import Console

    from anneal_cli.run_command import run as run_job

    _finish(
        run_job(
            file,
            work_dir=work_dir,
            store=store,
            fresh=fresh,
            serve=serve,
            host=host,
            port=port,
            console=Console(highlight=False),
        )
    )


@app.command()
def serve(
    path: Annotated[Path, typer.Argument(metavar="PATH", help="A published version, or a job's folder.")],
    host: Annotated[str, typer.Option(help="Address to serve on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="Port to serve on.", min=1, max=65535)] = 8000,
) -> None:
    """Serve a published model over HTTP until Ctrl-C."""
    from rich.console import Console

    from anneal_cli.serve_command import serve_until_stopped

    _finish(serve_until_stopped(path, None, host=host, port=port, console=Console(highlight=False)))


@app.command()
def predict(
    path: Annotated[Path, typer.Argument(metavar="PATH", help="A published version, or a job's folder.")],
    texts: Annotated[
        list[str] | None,
        typer.Argument(metavar="[TEXT]...", help="Texts; none: one a line from standard input."),
    ] = None,
    output: Annotated[OutputFormat, typer.Option(help="How to print the answers.")] = OutputFormat.TEXT,
) -> None:
    """Answer texts with a published model: no server, no Ray."""
    from anneal_cli.predict_command import predict as predict_texts

    _finish(predict_texts(path, texts or [], as_json=output is OutputFormat.JSON))


_Namespace = Annotated[
    str, typer.Option("--namespace", "-n", help="Namespace of the job; default: that of the context.")
]
_Context = Annotated[str, typer.Option(help="Context of the kubeconfig; default: the current one.")]
_KubeconfigFile = Annotated[
    Path | None, typer.Option(metavar="FILE", help="The kubeconfig; default: $KUBECONFIG or ~/.kube/config.")
]


@app.command()
def status(
    name: Annotated[
        str | None, typer.Argument(metavar="NAME", help="A FineTuneJob in the cluster; none: list them.")
    ] = None,
    watch: Annotated[
        bool, typer.Option("--watch", "-w", help="Follow it until it is Ready, Succeeded or Failed.")
    ] = False,
    namespace: _Namespace = "",
    all_namespaces: Annotated[
        bool, typer.Option("--all-namespaces", "-A", help="List the jobs of all namespaces.")
    ] = False,
    output: Annotated[
        OutputFormat, typer.Option("--output", "-o", help="How to print it.")
    ] = OutputFormat.TEXT,
    context: _Context = "",
    kubeconfig: _KubeconfigFile = None,
) -> None:
    """Show how a job in the cluster stands, what is wrong with it, and what came out.

    The exit code is 0, or where the job failed, the one that says why.
    """
    from anneal_cli.cluster_access import ClusterChoice
    from anneal_cli.status_command import status as show_status
    from anneal_cli.status_view import output_console

    _finish(
        show_status(
            name,
            choice=ClusterChoice(namespace, context, kubeconfig),
            everywhere=all_namespaces,
            watch=watch,
            as_json=output is OutputFormat.JSON,
            console=output_console(),
        )
    )


@app.command()
def logs(
    name: Annotated[str, typer.Argument(metavar="NAME", help="A FineTuneJob in the cluster.")],
    follow: Annotated[
        bool, typer.Option("--follow", "-f", help="Go on with what is printed from now on.")
    ] = False,
    part: Annotated[
        LogPart | None, typer.Option(help="Part of its way; default: the one that runs, or ran last.")
    ] = None,
    attempt: Annotated[
        int | None, typer.Option(help="Number of the attempt; default: the newest.", min=1)
    ] = None,
    tail: Annotated[
        int | None, typer.Option(help="Only so many of the last lines; default: all.", min=0)
    ] = None,
    namespace: _Namespace = "",
    context: _Context = "",
    kubeconfig: _KubeconfigFile = None,
) -> None:
    """Print what a job's pods print.

    Followed without --part, it goes from part to part until the job is Ready, Succeeded or Failed.
    """
    from anneal_cli.cluster_access import ClusterChoice
    from anneal_cli.logs_command import logs as print_logs

    _finish(
        print_logs(
            name,
            choice=ClusterChoice(namespace, context, kubeconfig),
            part=part,
            attempt=attempt,
            follow=follow,
            tail=tail,
        )
    )
