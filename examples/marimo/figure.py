# pip install marimo gradcam-web; marimo run figure.py
import marimo

app = marimo.App()


@app.cell
def _():
    import marimo as mo
    from gradcam_web import GradCam

    cam = mo.ui.anywidget(GradCam("cat.jpg", alt="A cat on a sofa", controls=True))
    cam
    return cam, mo


@app.cell
def _(cam, mo):
    mo.md(f"The network says: **{cam.value['label']}**")
    return


if __name__ == "__main__":
    app.run()
