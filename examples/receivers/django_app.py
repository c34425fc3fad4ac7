"""Receives requests with Django, all in one file: HOLDFAST_PUSH_SECRET=whsec_… python django_app.py runserver"""

import sys

from django.conf import settings
from django.core.management import execute_from_command_line
from django.http import HttpRequest, JsonResponse
from django.urls import path
from django.views.decorators.csrf import csrf_exempt
from django.views.decorators.http import require_POST

from holdfast import push

if not settings.configured:
    settings.configure(DEBUG=False, ROOT_URLCONF=__name__, ALLOWED_HOSTS=["*"], SECRET_KEY="only for this example")

done: set[str] = set()  # yours is a table: the same request may come again


@csrf_exempt  # the signature says who asks
@require_POST
def jobs(request: HttpRequest) -> JsonResponse:
    try:
        delivery = push.verify(request.body, request.headers)  # the body as it came in
    except push.SignatureInvalid as error:
        return JsonResponse({"error": str(error)}, status=401)
    if delivery.id not in done:
        print("to do:", request.body.decode())
        done.add(delivery.id)
    return JsonResponse({"done": delivery.id})


urlpatterns = [path("jobs", jobs)]

if __name__ == "__main__":
    execute_from_command_line(sys.argv)
