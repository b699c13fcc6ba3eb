"""A product file is opened by the tools that customers have, without pipshpc."""

import json
import shutil
import subprocess

import h5py
import numpy as np
import pytest

pytestmark = pytest.mark.system

NAME = "Surface downwelling longwave radiation"


def run(*command):
    if shutil.which(command[0]) is None:
        pytest.skip(f"{command[0]} is not installed")
    return subprocess.run([str(c) for c in command], capture_output=True, text=True, check=True, timeout=120).stdout


@pytest.fixture
def truth(product_file):
    """The values by the CF convention, read as plain HDF5."""
    with h5py.File(product_file) as handle:
        data = handle["rlds"]
        values = data[:] * data.attrs["scale_factor"].astype(float) + data.attrs["add_offset"].astype(float)
        return np.ma.masked_where(data[:] == data.attrs["_FillValue"], values)


def test_h5py_reads_values_and_dimensions(product_file, truth):
    with h5py.File(product_file) as handle:
        data = handle["rlds"]
        assert data.dtype == np.int16
        assert [d.label or d[0].name for d in data.dims] == ["/time", "/lat", "/lon"]
        assert (data.shuffle, data.fletcher32, data.compression) == (True, True, "gzip")
        assert data.chunks[0] == 1
        assert json.loads(handle.attrs["lineage"])["task"]
    assert 100 < truth.mean() < 500


def test_netcdf4_reads_the_same(product_file, truth, needs):
    needs("netCDF4")
    import netCDF4

    with netCDF4.Dataset(product_file) as file:
        assert set(file.dimensions) == {"time", "lat", "lon", "bnds"}
        np.testing.assert_allclose(file["rlds"][:], truth, rtol=1e-5)
        assert file["rlds"].dimensions == ("time", "lat", "lon")
        assert file["rlds"].units == "W m-2"


def test_xarray_reads_the_same(product_file, truth, needs):
    needs("xarray", "netCDF4")
    import xarray

    with xarray.open_dataset(product_file) as file:
        assert file.rlds.dims == ("time", "lat", "lon")
        np.testing.assert_allclose(file.rlds.values, truth.filled(np.nan), rtol=1e-5)
        assert str(file.time.values[0])[:16] == "2019-02-02T01:30"
        assert file.rlds.attrs["long_name"] == NAME
        noon = file.rlds.sel(lat=10.2, lon=20.1, time="2019-02-02T13:30", method="nearest")
        row = int(np.abs(file.lat.values - 10.2).argmin())
        column = int(np.abs(file.lon.values - 20.1).argmin())
        assert float(noon) == pytest.approx(float(truth[4, row, column]), rel=1e-5)


def test_cdo_knows_grid_times_and_values(product_file, truth):
    text = run("cdo", "-s", "sinfon", product_file)
    assert "lonlat" in text
    assert "rlds" in text
    assert "2019-02-02 01:30:00" in text
    assert "degrees_east" in text
    means = run("cdo", "-s", "outputf,%.4f,1", "-fldmean", "-seltimestep,1/7", "-selname,rlds", product_file).split()
    with h5py.File(product_file) as handle:
        weights = np.broadcast_to(np.cos(np.radians(handle["lat"][:]))[None, :, None], truth.shape)
    wanted = np.ma.average(truth, axis=(1, 2), weights=weights)[:7]
    np.testing.assert_allclose([float(m) for m in means], wanted, rtol=1e-4)


def test_cdo_takes_no_exception_to_it(product_file):
    if shutil.which("cdo") is None:
        pytest.skip("cdo is not installed")
    found = subprocess.run(
        ["cdo", "sinfon", str(product_file)], capture_output=True, text=True, check=True, timeout=120
    )
    assert "Warning" not in found.stdout + found.stderr


def test_gdal_knows_where_it_lies(product_file, truth):
    about = json.loads(run("gdalinfo", "-json", f'NETCDF:"{product_file}":rlds'))
    rows, columns = truth.shape[1:]
    assert about["size"] == [columns, rows]
    assert len(about["bands"]) == truth.shape[0]
    assert about["geoTransform"] == pytest.approx([-180, 360 / columns, 0, 90, 0, -180 / rows])
    assert about["bands"][0]["noDataValue"] == -32768
    assert about["bands"][0]["scale"] == pytest.approx(0.02)
    assert about["bands"][0]["offset"] == 350.0
    assert about["bands"][0]["unit"] == "W m-2"
    assert "WGS 84" in about["coordinateSystem"]["wkt"]


def test_gdal_reads_a_value(product_file, truth):
    row, column = truth.shape[1] // 3, truth.shape[2] // 4
    found = run("gdallocationinfo", "-valonly", "-b", 3, f'NETCDF:"{product_file}":rlds', column, row)
    # The tool gives the stored number or the decoded one, as its version has it.
    assert float(found.split()[0]) in (
        pytest.approx(float(truth[2, row, column]), rel=1e-5),
        pytest.approx(round((float(truth[2, row, column]) - 350) / 0.02)),
    )


def test_compliance_checker_finds_no_fault(product_file, tmp_path, needs):
    needs("compliance_checker")
    from compliance_checker.runner import CheckSuite, ComplianceChecker

    CheckSuite.load_all_available_checkers()
    report = tmp_path / "report.json"
    passed, failed = ComplianceChecker.run_checker(
        str(product_file), ["cf:1.11"], 0, "normal", output_filename=str(report), output_format="json"
    )
    found = json.loads(report.read_text())["cf:1.11"]
    faults = [
        f"{fault['name']}: {message}"
        for weight in ("high", "medium")
        for fault in found[f"{weight}_priorities"]
        if fault["value"][0] < fault["value"][1]
        for message in fault["msgs"]
    ]
    assert not failed
    assert not faults, "\n".join(faults)
    assert passed
