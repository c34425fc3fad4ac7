"""Receives requests with Flask: HOLDFAST_PUSH_SECRET=whsec_… flask --app flask_app run"""

from flask import Flask, request

from holdfast import push

app = Flask(__name__)
done: set[str] = set()  # yours is a table: the same request may come again


@app.post("/jobs")
def jobs() -> tuple[dict[str, str], int]:
    body = request.get_data()  # as it came in, before anything parses it
    try:
        delivery = push.verify(body, request.headers)
    except push.SignatureInvalid as error:
        return {"error": str(error)}, 401
    if delivery.id not in done:
        print("to do:", body.decode())
        done.add(delivery.id)
    return {"done": delivery.id}, 200
