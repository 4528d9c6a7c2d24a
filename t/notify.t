#!/usr/bin/env perl

# Why: a message is worth nothing if it delays the step that it tells of, and
# it must not matter to anybody whether who is told is there at all.

use strict;
use warnings;

use JSON::PP ();
use Time::HiRes ();

use Test::Lockbox;
use Test::Lockbox::Admin;
use Test::Lockbox::Events;

# How many requests the notified has got so far.
my $told = 0;

my $LOCATIONS = <<'EOF_LOCATIONS';
location ~ ^/tenants/(?<tenant>[^/]+)/(?<service>[^/]+)/ {
    lockbox          on;
    lockbox_tenant   $tenant;
    lockbox_service  $service;
    proxy_pass       http://127.0.0.1:%%PORT_8081%%;
}

location /lockbox/ {
    lockbox_admin  on;
}
EOF_LOCATIONS

my $json = JSON::PP->new->utf8;
my $t = Test::Lockbox->new;

use_world($t);
$t->redis;
$t->upstream(handler => sub {
    my ($request, $client) = @_;

    # the path says what to do
    my ($status) = $request->{uri} =~ m{^/(\d+)$};
    sleep 30 if $request->{uri} eq '/slow';
    return if $request->{uri} eq '/close';

    return [ $status // 200, {}, 'x' x 100_000 ];
});
configure('proxy_pass http://127.0.0.1:%%PORT_8081%%;');
$t->run;

delivered();
swept();
nobody_waits('a slow one', 'proxy_pass http://127.0.0.1:%%PORT_8081%%/slow;');
nobody_waits('one that is not there', 'proxy_pass http://127.0.0.1:1;');
nobody_waits('one that hangs up',
             'proxy_pass http://127.0.0.1:%%PORT_8081%%/close;');
nobody_waits('one that answers 500',
             'proxy_pass http://127.0.0.1:%%PORT_8081%%/500;');
nobody_waits('one that never ends',
             'limit_req zone=slow burst=100; '
             . 'proxy_pass http://127.0.0.1:%%PORT_8081%%/204;', http =>
             'limit_req_zone $uri zone=slow:1m rate=1r/m;');
nobody_waits('no such location', '', uri => '/none');
kinds_of_locations();
variables();
crowd();
drain();
connections();
tests_of_configuration();

done_testing();


sub configure {
    my ($inside, %parts) = @_;

    my $location = $parts{location} // "location = /notify {\n internal;\n"
                                       . "$inside\n}\n";
    my $notify = ($parts{uri} // '/notify') . ' timeout='
                 . ($parts{timeout} // '60s');
    my %conf = (
        locations => $location . $LOCATIONS,
        directives => { lockbox_redis => redis_at($t),
                        lockbox_notify => $notify },
        map { $_ => $parts{$_} } grep { exists $parts{$_} }
            qw(http server workers),
    );

    $t->write_conf($t->conf(%conf));
    $t->reload if $t->{nginx};
}

# The requests that the notified has got since the last call.
sub told {
    my ($count) = @_;

    my @requests;

    $t->wait_for(sub {
        @requests = $t->upstream_requests;
        return @requests >= $told + $count;
    }, undef, "$count messages");

    my @new = @requests[$told .. $#requests];
    $told = @requests;

    return @new;
}

sub messages {
    return [ map { $json->decode($_->{body}) } told(@_) ];
}

sub delivered {
    my $id = file();
    my ($request) = told(1);

    is($request->{method}, 'POST', 'an event is posted');
    is($request->{uri}, '/notify', '... to the location');
    is($request->{headers}{'content-type'}, 'application/cloudevents+json',
       '... as what it is');
    is($request->{headers}{'content-length'}, length $request->{body},
       '... whole');
    is_deeply($json->decode($request->{body}),
              page('manager', limit => 100)->{events}[-1],
              '... as it reads on a page');

    approve('manager', $id);
    my $stale = act('manager', 'deny', $id, { version => 1 });
    is($stale->status, 409, 'a step that is refused');
    approve('customer', $id);
    collect($id) for 1 .. 2;
    took('customer', 'revoke', $id);
    ask('manager', 'GET', $REQUESTS);

    is_deeply([ sort map { "$_->{data}{version} $_->{type}" }
                @{ messages(4) } ], [
        '2 lockbox.request.approved', '3 lockbox.request.approved',
        '3 lockbox.request.collected', '4 lockbox.request.revoked',
    ], 'each step once, and no other');

    is($t->http('POST', '/notify', body => 'x')->status, 404,
       'nobody else gets in there');
    is_deeply([ grep { !/ (?:request|approve|deny|collect|revoke)\b/ }
                record_words(records()) ], [], 'no record of it');
}

# Many workers and one of them wins.
sub swept {
    configure('proxy_pass http://127.0.0.1:%%PORT_8081%%;', workers => 3);

    my $id = file();
    messages(1);
    make_due($id);

    is_deeply([ map { [ @{ $_->{data} }{qw(event request actor settles)} ] }
                @{ messages(1) } ],
              [ [ 'lapsed', $id, undef, 'manager' ] ],
              'what the sweep does is told once');

    is(scalar $t->upstream_requests, $told, 'and not again');
}

# The step and the next one on its connection are answered before.
sub nobody_waits {
    my ($name, $inside, %parts) = @_;

    configure($inside, timeout => '500ms', %parts);
    my $from = length $t->read_file('error.log');

    my $connection = $t->http_connect;

    for (1 .. 3) {
        $connection->request('POST', $REQUESTS, keepalive => 1,
                             token => token_of('engineer'), json => filing());
        is($connection->response->status, 201, "$name: a step is taken");
    }

    $t->wait_for(sub {
        return substr($t->read_file('error.log'), $from)
               =~ /lockbox: "\/\w+" did not take \d+ event/;
    }, undef, "$name to be complained of");

    my @old = $t->workers;
    configure('return 204;');
    $t->wait_for(sub { !grep { kill 0, $_ } @old }, undef,
                 'the worker to go');
    pass("$name: the worker goes");
}

# Whatever a location can be.
sub kinds_of_locations {
    my %kinds = (
        'return' => 'return 204;',
        'return with a body' => 'return 200 "some text";',
        'a file' => 'root %%TESTDIR%%; error_page 405 =200 /page;',
        'an error page' => 'error_page 404 = @named; return 404;',
        'a redirect' => 'rewrite ^ /elsewhere last;',
        'a loop' => 'rewrite ^ /notify last;',
        'a dead end' => 'return 301 http://nowhere.example/;',
        'a close' => 'return 444;',
        'an empty response' => 'empty_gif;',
        'a mirror' => 'mirror /mirrored; return 204;',
        'a question first' => 'auth_request /mirrored; return 204;',
        'nobody' => 'deny all;',
        'buffers' => 'proxy_request_buffering off; proxy_buffering off; '
                     . 'proxy_http_version 1.1; '
                     . 'proxy_pass http://127.0.0.1:%%PORT_8081%%;',
        'something to do later' => 'post_action /mirrored; return 204;',
        'an API' => 'lockbox_admin on;',
        'a long goodbye' => 'lingering_close always; keepalive_timeout 75; '
                            . 'return 200 "x";',
        'a slow one' => 'limit_rate 1; return 200 "some text";',
        'FastCGI' => 'fastcgi_pass 127.0.0.1:%%PORT_8081%%;',
    );

    for my $name (sort keys %kinds) {
        my $location = $name eq 'an API'
            ? "location /notify/ { $kinds{$name} }\n"
            : "location = /notify { internal; $kinds{$name} }\n";

        configure('', uri => $name eq 'an API' ? '/notify/v1/whoami'
                                               : '/notify',
                  timeout => '500ms', location => <<"EOF_LOCATIONS" . $location);
location = /mirrored { internal; return 204; }
location = /elsewhere { internal; return 204; }
location = /page { return 204; }
location \@named { return 204; }
EOF_LOCATIONS

        my $id = file();
        approve('manager', $id);
        is(outcome(act('customer', 'deny', $id, { version => 2 })), '200 ok',
           "$name: steps are taken");
    }

    $told = scalar $t->upstream_requests;
}

# What belongs to a connection or a client is there, or is empty.
sub variables {
    my @names = map { "\$$_" } qw(
        request request_method request_uri uri args server_protocol status
        body_bytes_sent bytes_sent request_length request_time remote_addr
        remote_port binary_remote_addr server_addr server_port server_name host
        hostname http_host http_user_agent http_referer http_x_any
        content_length content_type connection connection_requests
        connection_time pipe msec time_iso8601 request_id request_completion
        request_body request_body_file scheme https http2 realip_remote_addr
        realip_remote_port proxy_protocol_addr remote_user cookie_x arg_x
        ssl_protocol ssl_client_fingerprint tcpinfo_rtt geo upstream_addr
        upstream_status sent_http_content_type document_root realpath_root
        request_filename limit_rate is_args nginx_version pid
        lockbox_decision lockbox_request_id lockbox_subject lockbox_tenant
        lockbox_labels lockbox_expires
    );

    configure("access_log %%TESTDIR%%/notify.log all;\n"
              . "limit_req zone=all burst=50 nodelay; limit_conn one 50;\n"
              . "proxy_set_header X-All \"@names\";\n"
              . 'proxy_pass http://127.0.0.1:%%PORT_8081%%;',
              http => "log_format all '" . join('|', @names) . "';\n"
                      . "geo \$geo { default none; 127.0.0.0/8 here; }\n"
                      . "limit_req_zone \$binary_remote_addr zone=all:1m "
                      . "rate=50r/s;\n"
                      . "limit_conn_zone \$binary_remote_addr zone=one:1m;",
              server => 'set_real_ip_from 127.0.0.1; '
                        . 'set_real_ip_from unix:;');

    file();
    my ($request) = told(1);

    like($request->{headers}{'x-all'},
         qr{^POST /notify HTTP/1\.1 POST /notify /notify },
         'variables while it runs');

    $t->wait_for(sub {
        $t->has_file('notify.log') && $t->read_file('notify.log') =~ /\n/;
    }, undef, 'the access log');

    my @values = split /\|/, $t->read_file('notify.log'), -1;
    is(scalar @values, scalar @names, 'all of them are logged');
    my %value;
    @value{@names} = @values;
    is($value{'$request'}, 'POST /notify HTTP/1.1', 'the request line');
    is($value{'$remote_addr'}, 'unix:', 'the client');
    is($value{'$status'}, '200', 'the status');
    is($value{'$host'}, 'localhost', 'the host');
    is($value{'$lockbox_decision'}, '-', 'no decision')
        or diag $value{'$lockbox_decision'};
}

# More at once than can be told: the oldest are dropped, no step is.
sub crowd {
    configure('proxy_pass http://127.0.0.1:%%PORT_8081%%;',
              timeout => '60s');
    $told = scalar $t->upstream_requests;

    my @ids = map { file() } 1 .. 40;
    my @messages = @{ messages(40) };

    is_deeply([ sort map { $_->{subject} } @messages ], [ sort @ids ],
              'forty are told of forty');

    configure('limit_req zone=slow burst=100; '
              . 'proxy_pass http://127.0.0.1:%%PORT_8081%%/204;',
              http => 'limit_req_zone $uri zone=slow:1m rate=1r/m;',
              timeout => '8s');
    my ($worker) = $t->workers;
    my $id = approved();
    my @fds = fds();

    my $connection;
    for my $i (0 .. 1099) {
        # nginx closes one after a thousand
        $connection = $t->http_connect if $i % 500 == 0;
        long_ago($id);
        $connection->request('POST', uri($id, 'grant'), keepalive => 1,
                             token => token_of('engineer'));
        my $response = $connection->response;
        $response->status == 200 or die $response->body;
    }

    pass('eleven hundred steps are taken');
    is(outcome(ask('manager', 'GET', $REQUESTS)), '200 ok',
       'and there is room for others');
    my @many = fds();
    cmp_ok(@many - @fds, '<', 25, 'a few are told at once');
    $t->wait_for(sub {
        $t->read_file('error.log') =~ /and \d+ were dropped/;
    }, undef, 'what is dropped to be logged');

    my %seconds;
    /^(\S+ \S+) \[error\] $worker#.* did not take/ and $seconds{$1}++
        for split /\n/, $t->read_file('error.log');
    is_deeply([ grep { $_ > 1 } values %seconds ], [], 'once a second');
}

# The quickest step that can be taken as often as needed, and is an event each
# time that an hour has passed.
sub collect_anew {
    my ($id) = @_;

    long_ago($id);

    return collect($id);
}

sub long_ago {
    my ($id) = @_;

    redis('DEL', "lockbox:{acme}:collected:$id");
}

sub fds {
    my ($worker) = $t->workers;
    my @fds = glob "/proc/$worker/fd/*";

    return @fds;
}

# What is under way when a worker goes is told; it waits for nothing else.
sub drain {
    my @old = $t->workers;

    configure('proxy_pass http://127.0.0.1:%%PORT_8081%%/slow;',
              timeout => '1s');
    $t->wait_for(sub { !grep { kill 0, $_ } @old }, undef, 'the crowd to go');

    file() for 1 .. 20;
    @old = $t->workers;
    configure('return 204;');
    $t->wait_for(sub { !grep { kill 0, $_ } @old }, 15,
                 'the draining worker to go');
    pass('a draining worker stays for what is under way only');
}

# A thousand of them leave nothing behind.
sub connections {
    configure('proxy_pass http://127.0.0.1:%%PORT_8081%%/204;');
    $told = scalar $t->upstream_requests;

    my $id = approved();
    collect_anew($id) for 1 .. 20;
    told(23);
    $t->wait_for(sub { my @now = fds(); @now > 0 }, undef, 'the worker');

    my $before = () = fds();
    collect_anew($id) for 1 .. 200;
    told(200);
    $t->wait_for(sub { my $now = () = fds(); $now <= $before + 1 }, undef,
                 'no more descriptors than before');
    pass('nothing is left behind');
}

sub tests_of_configuration {
    my $test = sub {
        my ($notify, $location) = @_;

        return $t->nginx_test($t->conf(
            directives => { lockbox_notify => $notify },
            locations => ($location // '') . $LOCATIONS));
    };

    for my $uri ('notify', '@notify', 'http://chat/', '/notify?x=1',
                 '/$tenant', '""')
    {
        my ($exit, $output) = $test->($uri);
        isnt($exit, 0, "lockbox_notify $uri");
        like($output, qr/invalid value .* in "lockbox_notify" directive/,
             '... is refused');
    }

    for my $more ('timeout=1ms', 'timeout=2m', 'timeout=x', 'timeout=',
                  'x', 'time=1s')
    {
        my ($exit, $output) = $test->("/notify $more");
        isnt($exit, 0, "lockbox_notify /notify $more");
        like($output, qr/invalid value "\Q$more\E" in "lockbox_notify"/,
             '... is refused');
    }

    is(($test->('/notify timeout=60s'))[0], 0, 'a good one');

    my ($exit, $output) = $test->([ '/a', '/b' ]);
    like($output, qr/is duplicate/, 'two of them');

    my $gated = "lockbox on; lockbox_tenant acme; lockbox_service mail;\n";
    ($exit, $output) = $test->('/notify', "location = /notify { $gated }\n");
    isnt($exit, 0, 'a gated location');
    like($output, qr/gated by "lockbox on"/, '... is refused');
    is(($test->('/notify', "location = /other { $gated }\n"))[0], 0,
       '... unless it is another one');

    ($exit, $output) = $t->nginx_test($t->conf(
        directives => { lockbox_notify => '/notify' },
        locations => 'location / { return 204; }'));
    isnt($exit, 0, 'without the API');
    like($output, qr/needs a server/, '... is refused');

    for my $bad ('x', '-1', '65537', '1 2', '1 person=x', '1 person=',
                 '1 person=-1')
    {
        my ($named) = $bad =~ /(\S+)$/;

        ($exit, $output) = $t->nginx_test($t->conf(
            directives => { lockbox_streams => $bad }));
        isnt($exit, 0, "lockbox_streams $bad");
        like($output, qr/invalid value "\Q$named\E" in "lockbox_streams"/,
             '... is refused by its name');
    }

    is(($t->nginx_test($t->conf(directives => {
            lockbox_streams => '65536 person=1' })))[0], 0, 'a good one');
}
