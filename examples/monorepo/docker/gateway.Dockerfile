FROM web AS gateway
USER root
COPY --from=assets /assets /srv/assets
COPY gateway.conf /etc/gateway.conf
RUN grep -q assets /etc/gateway.conf && find /srv/assets -type f | wc -l > /srv/assets.count
USER app
CMD ["--gateway"]
