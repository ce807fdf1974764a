"""An S3 server with one object, until standard input ends.

    python s3.py BUCKET KEY FILE

Prints its address as JSON once it serves.
"""

import json
import sys

import boto3
from moto.server import ThreadedMotoServer


def main(bucket, key, file):
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    endpoint = f"http://{host}:{port}"
    client = boto3.client(
        "s3", endpoint_url=endpoint, region_name="us-east-1", aws_access_key_id="k", aws_secret_access_key="s"
    )
    client.create_bucket(Bucket=bucket)
    client.upload_file(file, bucket, key)
    print(json.dumps({"endpoint": endpoint}), flush=True)
    sys.stdin.read()
    server.stop()


if __name__ == "__main__":
    main(*sys.argv[1:])
