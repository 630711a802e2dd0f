"""Takes are deleted only if the answer can say which versions were made with them."""

from pathlib import Path

import httpx
from speechmodel_inference.app import create_app
from speechmodel_inference.settings import Settings


async def test_a_server_without_a_version_deletes_nothing(tmp_path: Path) -> None:
    take = tmp_path / "takes" / "Ana" / "20260101-000000-0a1b2c.json"
    take.parent.mkdir(parents=True)
    take.write_text("{}", encoding="utf-8")
    loading = httpx.ASGITransport(create_app(Settings(takes=tmp_path)))  # which does not start it
    async with httpx.AsyncClient(transport=loading, base_url="http://espejo") as client:
        assert (await client.delete("/v1/takes/Ana")).status_code == 503
    assert take.exists()
