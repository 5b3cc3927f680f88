"""What Prometheus and Grafana read: alert rules and a dashboard, for docker-compose and for a cluster."""
