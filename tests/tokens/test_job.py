"""A job is made of a module and its codebooks; its digests cannot be typed in."""

import pickle

import numpy as np
import pytest
import torch

from certvq.errors import DigestMismatchError, OptionError, ShapeError
from certvq.models import codebook_digest, model_digest
from certvq.tokens import Job, TokenCodebook
from certvq.tokens._job import differences, fields_of, job_of


def test_digests_are_those_of_the_module_and_its_codebooks():
    model, codebook = torch.nn.Linear(2, 3), torch.randn(5, 4)
    job = Job.of(model, [codebook], modality="image", inputs=["a"])
    assert job.model_sha256 == model_digest(model)
    assert job.codebooks == (TokenCodebook(5, codebook_digest(codebook)),)
    assert job.codebook_sizes == (5,)


def test_a_job_cannot_be_made_of_digests():
    with pytest.raises(OptionError, match=r"a Job is made by Job.of\(model, codebooks, \.\.\.\)"):
        Job(modality="image", model_sha256="0" * 64, codebooks=(), inputs=())


def test_levels_of_a_grid_stand_for_their_product():
    job = Job.of(torch.nn.Identity(), [np.array([8, 5, 5])], modality="latent", inputs=[])
    assert job.codebook_sizes == (200,)
    other = Job.of(torch.nn.Identity(), [torch.tensor([5, 8, 5])], modality="latent", inputs=[])
    assert other.codebooks[0].sha256 != job.codebooks[0].sha256


def test_the_digest_depends_on_everything(make_job):
    jobs = [
        make_job(),
        make_job(seed=1),
        make_job((300, 8)),
        make_job(preprocessing={"rate": 16000}),
        make_job(arguments={}),
        make_job(inputs=("a", "c", "b")),
        make_job(modality="latent"),
    ]
    assert len({job.sha256 for job in jobs}) == len(jobs)
    assert make_job().sha256 == jobs[0].sha256


def test_a_job_goes_to_other_processes_and_to_json(make_job):
    job = make_job()
    assert pickle.loads(pickle.dumps(job)) == job  # noqa: S301 (of our own)
    assert job_of(fields_of(job)) == job


@pytest.mark.parametrize(
    ("options", "error", "text"),
    [
        ({"modality": "smell"}, OptionError, "modality must be one of image, audio, video, latent"),
        ({"preprocessing": {"rate": object()}}, OptionError, "preprocessing must be JSON: "),
        ({"arguments": {"model": {1, 2}}}, OptionError, "arguments must be JSON: "),
    ],
)
def test_what_cannot_be_recorded_is_refused(make_job, options, error, text):
    with pytest.raises(error, match=text):
        make_job(**options)


@pytest.mark.parametrize(
    ("codebooks", "error", "text"),
    [
        ([], OptionError, "at least one codebook, got none"),
        ([np.zeros((2, 3, 4))], ShapeError, r"got \(2, 3, 4\) of float64"),
        ([np.zeros(3)], ShapeError, r"got \(3,\) of float64"),
        ([np.zeros((0, 3))], ShapeError, r"got \(0, 3\)"),
        ([np.array([2, 0])], OptionError, r"levels must be at least 1.*\[2, 0\]"),
        ([np.full(64, 2)], OptionError, "product at most"),
    ],
)
def test_codebooks_that_are_none_are_refused(codebooks, error, text):
    with pytest.raises(error, match=text):
        Job.of(torch.nn.Identity(), codebooks, modality="image", inputs=[])


def test_a_worker_with_another_model_is_refused():
    model, codebooks = torch.nn.Linear(2, 3), [torch.zeros(4, 1), torch.ones(4, 1)]
    job = Job.of(model, codebooks, modality="image", inputs=["a"])
    job.require_same(model, codebooks)
    for other, given, named in (
        (torch.nn.Linear(2, 3), codebooks, "the model "),
        (model, codebooks[::-1], "the codebook 0 "),
        (model, codebooks[:1], "the codebook 1 "),
        (model, [*codebooks, torch.zeros(1, 1)], "the codebook 2 "),
    ):
        with pytest.raises(DigestMismatchError, match=f"the job is of {named}"):
            job.require_same(other, given)


def test_differences_are_named(make_job):
    one = make_job()
    assert differences(one, make_job()) == ""
    assert differences(one, make_job(preprocessing={"rate": 48000})) == (
        "preprocessing.rate is 24000 there, given is 48000"
    )
    assert differences(one, make_job(inputs=("a", "b"))) == "inputs.2 is 'c' there, given is none"
    many = differences(one, make_job(inputs=[f"other {n}" for n in range(9)]))
    assert many.endswith("; and 4 more")


@pytest.mark.parametrize(
    "change",
    [
        lambda fields: fields.pop("inputs"),
        lambda fields: fields.update(modality="smell"),
        lambda fields: fields.update(codebooks=[]),
        lambda fields: fields.update(codebooks=[{"size": 0, "sha256": "0" * 64}]),
        lambda fields: fields.update(codebooks=[{"size": 1, "sha256": "0"}]),
        lambda fields: fields.update(model_sha256="me"),
        lambda fields: fields.update(arguments=[]),
        lambda fields: fields.update(inputs=[1]),
    ],
)
def test_json_that_is_no_job_is_refused(make_job, change):
    fields = fields_of(make_job())
    change(fields)
    with pytest.raises(ValueError, match="the job lacks a field, or a field is of another kind"):
        job_of(fields)
