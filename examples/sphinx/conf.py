# pip install sphinx furo gradcam-web; the picture lies beside this file.
project = "Heatmaps"
extensions = ["gradcam_web.sphinx"]
html_theme = "furo"
