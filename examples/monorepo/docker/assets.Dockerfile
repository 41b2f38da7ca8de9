FROM scratch
COPY css/ /assets/css/
COPY index.html /assets/
LABEL kind=assets
